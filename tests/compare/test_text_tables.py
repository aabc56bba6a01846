import csv
import math

import pytest
from made_results import made_result, made_run

from gancolor.compare.comparison import Comparison
from gancolor.compare.text_tables import COSTS, behind, cost, cost_table, seeds_table, terminal_table, write_ranking_csv


@pytest.fixture
def comparison():
    """Two seeds of one system, a run that differs from it, and another tool's pictures."""
    results = {f"{seed}": made_result({"ugan": made_run(seed=seed, **{"loss.l1": 100})}, seed=0) for seed in (1, 2)}
    whole = {"tool": {"fid": 12.5}}
    systems = {"ugan": made_run(place=2, **{"loss.l1": 10}), "tool": {"pictures": "there"}}
    return Comparison({**results, "more": made_result(systems, whole=whole, seed=0)})


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]


def test_terminal_table_is_ranked_between_grey_and_truth(comparison):
    heading, _, *lines = rows(terminal_table(comparison))
    assert heading[0] == "PSNR [dB]" and heading[-1] == "behind [psnr]" and "FID" in heading
    order = [f"{place} {entry.name}" for place, entry in enumerate(comparison.entries, 1)]
    order = [name + (" (2 seeds)" if name.endswith("=100") else "") for name in order]
    assert [line[0] for line in lines] == ["grey", *order, "truth"]
    assert [line[-1].startswith(("~ 0", "0.")) for line in lines[2:-1]] == [True] * 2
    (tool,) = [line for line in lines if "tool" in line[0]]
    assert "12.50" in tool


def test_gap_has_its_interval_and_a_mark_where_it_is_not_certain(comparison):
    first, *others = comparison.entries
    assert behind(comparison, first) == behind(comparison, comparison.grey) == ""
    for entry in others:
        gap = comparison.behind[entry.name]
        mark = "" if gap.low > 0 else "~ "
        assert behind(comparison, entry) == f"{mark}{gap.mean:.2f} [{gap.low:.2f}, {gap.high:.2f}]"


def test_seeds_have_a_table_of_their_own(comparison):
    heading, _, *lines = rows(seeds_table(comparison))
    assert heading[0] == "over seeds: mean ± sd" and len(lines) == 1
    (entry,) = [entry for entry in comparison.entries if entry.seeds]
    mean, deviation = entry.seeds["psnr"]
    assert lines[0][:2] == ["ugan, loss.l1=100 (2 seeds)", f"{mean:.2f} ± {deviation:.2f}"]
    assert seeds_table(Comparison({"x": made_result({"tool": {}})})) == ""


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({}, ["-", "-", "-", "-"]),
        (made_run(), ["10 k", "2.00 G", "100", "5.0"]),
        ({"parameters": 54_412_345, "macs": 1.26e9, "photographs_per_second": None, "seconds": 90.0},
         ["54.4 M", "1.26 G", "-", "1.5"]),
    ],
)  # fmt: skip
def test_costs_in_words(comparison, about, words):
    comparison.entries[0].about.clear()
    comparison.entries[0].about.update(about)
    assert [cost(comparison.entries[0], name) for name in COSTS] == words


def test_markdown_table_has_the_costs_that_any_has(comparison):
    heading, *lines = cost_table(comparison).splitlines()
    assert [name in heading for name in COSTS.values()] == [True] * 4
    assert lines[1].startswith("| grey ") and lines[-1].startswith("| truth ")
    tools = Comparison({"x": made_result({"tool": {}})})
    assert not any(name in cost_table(tools) for name in COSTS.values())


def test_csv_has_a_line_a_system_with_everything(comparison, tmp_path):
    small = Comparison({"x": made_result({'to"ol, <b>': {}}, size=32, photographs=1)})
    write_ranking_csv(tmp_path / "table.csv", [comparison, small])
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["system"] for line in lines[5:]] == ["grey", 'to"ol, <b>', "truth"]
    assert [line["rank"] for line in lines] == ["", "1", "2", "3", "", "", "1", ""]
    assert {line["size"] for line in lines[:5]} == {"16"} and lines[6]["size"] == "32"
    assert {line["photographs"] for line in lines[:5]} == {"12"} and lines[0]["files"] == comparison.files
    for line, entry in zip(lines[1:4], comparison.entries, strict=True):
        assert line["system"] == entry.name and line["runs"] == str(len(entry.members))
        for metric, mean in entry.means.items():
            said = [float(line[f"{metric}{end}"] or "nan") for end in ("", "_low", "_high")]
            assert said == pytest.approx([mean.mean, mean.low, mean.high], rel=1e-5, nan_ok=True)
        sd = entry.seeds.get("psnr", (0, math.nan))[1]
        assert float(line["psnr_sd_over_seeds"] or "nan") == pytest.approx(sd, rel=1e-5, nan_ok=True)
        gap = comparison.behind.get(entry.name)
        assert float(line["behind"] or 0) == pytest.approx(gap.mean if gap else 0, rel=1e-5)
        assert line["loss.l1"] == str(entry.about.get("options", {}).get("loss.l1", ""))
        assert line["parameters"] == str(entry.about.get("parameters", ""))
    assert lines[6]["psnr_low"] == lines[6]["psnr_high"] == "" != lines[6]["psnr"]
    assert list(tmp_path.iterdir()) == [tmp_path / "table.csv"]


def test_csv_has_the_options_of_evaluation_that_differ(tmp_path):
    about = made_run(**{"data.size": 32})
    ways = [about | {"strength": strength, "input_size": size} for strength, size in ((1.0, 32), (1.4, 16))]
    comparison = Comparison({f"{number}.json": made_result({"ugan": way}) for number, way in enumerate(ways)})
    write_ranking_csv(tmp_path / "table.csv", [comparison])
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert {(line["strength"], line["input_size"]) for line in lines} == {
        ("", ""), ("1.0", "as in training"), ("1.4", "16"),
    }  # fmt: skip


def test_csv_of_files_whose_names_are_not_utf8(tmp_path):
    results = {f"caf\udce9/{n}.json": made_result({"tool": {}}, seed=n) for n in (1, 2)}
    write_ranking_csv(tmp_path / "table.csv", [Comparison(results)])
    assert "tool (caf\\udce9/1.json)" in (tmp_path / "table.csv").read_text(encoding="utf-8")
