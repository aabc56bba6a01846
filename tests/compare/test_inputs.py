import json

import pytest
from made_results import made_result, made_run

from gancolor.compare.inputs import compare_results, find_results, sweep_table
from gancolor.utils.errors import InputError


@pytest.fixture
def runs(tmp_path):
    """A folder with two finished runs and one that is not, and a result beside."""
    for number in (1, 2):
        folder = tmp_path / "runs" / f"run {number}"
        folder.mkdir(parents=True)
        (folder / "config.yaml").touch()
        made_result({"ugan": made_run(place=number, **{"loss.l1": number})}, seed=number).save(folder / "results.json")
    (tmp_path / "runs" / "stopped").mkdir()
    (tmp_path / "runs" / "stopped" / "config.yaml").touch()
    made_result({"tool": {"pictures": "there"}}).save(tmp_path / "tool.json")
    return tmp_path / "runs"


def test_runs_folders_of_runs_and_files_are_found(runs):
    one, tool = runs / "run 1", runs.parent / "tool.json"
    for path in (one, one / "results.json"):
        results, notes = find_results([path])
        assert (list(results), notes) == ([str(one / "results.json")], [])
    assert list(find_results([one, tool])[0]) == [str(one / "results.json"), str(tool)]
    results, _ = find_results([runs, one, tool])
    assert list(results) == [str(runs / "run 1/results.json"), str(runs / "run 2/results.json"), str(tool)]


def test_what_has_no_results_is_noted_and_the_rest_goes_on(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    damaged = tmp_path / "damaged" / "results.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    results, notes = find_results([runs, tmp_path / "nowhere", tmp_path / "empty", damaged.parent])
    assert len(results) == 2
    stopped = runs / "stopped"
    assert notes[:3] == [
        f"{stopped}: not finished, so without results; evaluate.py {stopped} --json FILE scores it as it is",
        f"{tmp_path / 'nowhere'}: no such file or folder",
        f"{tmp_path / 'empty'}: not a run folder, and contains none",
    ]
    assert notes[3].startswith(f"{damaged}: not a result of evaluate.py") and len(notes) == 4


def test_what_is_as_it_should_be_without_results_is_ignored(runs):
    """Runs that a sweep has stopped early, and Weights & Biases' own files in a run's folder."""
    theirs = runs / "run 1" / "wandb" / "run-x" / "files"
    theirs.mkdir(parents=True)
    (theirs / "config.yaml").touch()
    trials = [{"folder": "stopped", "status": "stopped early"}, {"folder": "run 1", "status": "done"}]
    (runs / "sweep.json").write_text(json.dumps({"trials": trials}))
    results, notes = find_results([runs])
    assert len(results) == 2 and notes == []


@pytest.mark.parametrize("content", [b"{}", b"[]", b"not json", b"\xff", b'{"trials": ["run 1"]}'])
def test_a_foreign_sweep_file_is_ignored(runs, content):
    (runs / "sweep.json").write_bytes(content)
    results, notes = find_results([runs])
    assert len(results) == 2 and len(notes) == 1 and "stopped: not finished" in notes[0]


def test_nothing_at_all_is_refused_with_the_reasons(runs, tmp_path):
    with pytest.raises(InputError, match=r"stopped: not finished.*; .*nowhere: no such file or folder"):
        find_results([runs / "stopped", tmp_path / "nowhere"])


def test_results_that_do_not_compare_make_several_comparisons_the_largest_first():
    results = {
        "small": made_result({"a": {}}, size=16),
        "large": made_result({"a": {}}, size=32), "large too": made_result({"b": {}}, size=32, seed=1),
        "fewer": made_result({"a": {}}, size=32, photographs=5),
    }  # fmt: skip
    comparisons, notes = compare_results(results, "psnr")
    found = [sorted(entry.name for entry in comparison.entries) for comparison in comparisons]
    assert found == [["a", "b"], ["a"], ["a"]]
    assert [comparison.protocol["size"] for comparison in comparisons] == [32, 16, 32]
    assert len(notes) == 2 and notes[0] == "large cannot be compared with small: size 32 against 16"
    assert notes[1].startswith("fewer cannot be compared with small: size 32 against 16")


def test_systems_without_the_metric_are_noted_and_none_with_it_is_refused():
    whole = {"a": {"fid": 10.0}}
    results = {"x": made_result({"a": {}, "b": {}}, whole=whole), "y": made_result({"c": {}}, size=32)}
    comparisons, notes = compare_results(results, "fid")
    assert [entry.name for comparison in comparisons for entry in comparison.entries] == ["a"]
    assert notes[1:] == ["b: was not scored by fid, so not ranked", "c: was not scored by fid, so not ranked"]
    with pytest.raises(InputError, match="--metric kid: none of the results has it"):
        compare_results(results, "kid")


def test_sweeps_table_is_of_its_finished_runs_with_costs(runs):
    table = sweep_table(sorted(runs.iterdir()), "psnr")
    heading, rule, *rows = table.splitlines()
    assert "parameters" in heading and "MACs at 256" in heading and "PSNR [dB]" in heading and set(rule) <= set("|-: ")
    assert [row.split("|")[1].strip() for row in rows] == ["grey", "ugan, loss.l1=1", "ugan, loss.l1=2", "truth"]
