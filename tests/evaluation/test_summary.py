"""Summaries of a result. What the whole command prints and writes is in tests/e2e/test_evaluation.py."""

import csv

from made_results import made_result

from gancolor.evaluation.summary import write_scores_csv


def test_csv_file_has_any_name(tmp_path):
    """Names of photographs and of systems come from files and from the command line, which need not be UTF-8."""
    names = ['quo"te\n, and\\.png', "grün 写真.jpg", "bad \udcff byte.jpg"]
    result = made_result({"tool \udcff": {}}, photographs=3)
    result.names[:] = names
    write_scores_csv(result, tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["photograph"] for row in rows[:3]] == [*names[:2], r"bad \udcff byte.jpg"]
    assert [row["system"] for row in rows[::3]] == ["grey", r"tool \udcff", "truth"]
