"""gancolor.sweeps.runner with a quick program: which runs start, when and where, and what is kept."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from gancolor.sweeps.processes import find_leftover, start_process
from gancolor.sweeps.runner import _slots, run_sweep
from gancolor.utils.errors import InputError

TOY = """
import json, os, pathlib, signal, sys, time

options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
out = pathlib.Path(options["out"])
mode, x = options.get("mode", "quick"), float(options.get("x", 0))
def end(number, _):
    time.sleep(0.3)
    (out / "saved").touch()
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, end)
(out / "journal.json").write_text((out.parent / "sweep.json").read_text())
with (out / "starts").open("a") as file:
    print(os.environ.get("CUDA_VISIBLE_DEVICES"), *sys.argv[1:], file=file)
if mode == "together":  # waits for another one
    limit = time.monotonic() + 20
    while len(list(out.parent.glob("*/starts"))) < 2:
        assert time.monotonic() < limit
        time.sleep(0.01)
if mode == "fail" or mode == "fail once" and len((out / "starts").read_text().splitlines()) == 1:
    print("something is said")
    sys.exit("the reason why")
with (out / "metrics.jsonl").open("a") as file:
    for step in range({"long": 600, "bad is slow": 60}.get(mode, 2)):
        print(json.dumps({"step": step, "loss": (x - 3) ** 2 + 0.5 + step % 2, "other": None}), file=file, flush=True)
        time.sleep(0.1 if mode == "long" or mode == "bad is slow" and x > 5 else 0)
"""


@pytest.fixture
def toy(tmp_path):
    path = tmp_path / "toy.py"
    path.write_text(TOY)
    return path


@pytest.fixture
def write(tmp_path, toy):
    """Return a function that writes a sweep file of the toy program, from parameters and other keys."""

    def writing(parameters, **keys):
        path = tmp_path / "sweep.yaml"
        content = {"program": str(toy), "method": "grid", "parameters": parameters, **keys}
        path.write_text(yaml.safe_dump(content))
        return path

    return writing


@pytest.fixture
def sweep(write, tmp_path, capfd):
    """Runs a sweep: a function of parameters, how, and the file's other keys. Returns status, out and err."""

    def run(parameters, given=None, folder="runs", jobs=1, trials=None, seed=0, **keys):
        path = write(parameters, **keys)
        status = run_sweep(path, tmp_path / folder, given or {}, jobs=jobs, trials=trials, seed=seed)
        return status, *capfd.readouterr()

    return run


def trials(folder):
    return json.loads((folder / "sweep.json").read_text())["trials"]


def starts(folder):
    return {path.parent.name: path.read_text().splitlines() for path in folder.glob("*/starts")}


LOSS = {"name": "loss"}
X = {"distribution": "uniform", "min": 0, "max": 10}


def test_each_run_has_its_command_and_folder(sweep, tmp_path):
    status, out, err = sweep({"x": {"values": [1, 2.5]}, "mode": {"value": "quick"}}, {"y": "a b"}, metric=LOSS)
    assert (status, err) == (0, "")
    runs = tmp_path / "runs"
    assert starts(runs) == {
        f"x={x}": [f"None --mode=quick --x={x} --y=a b --out={runs}/x={x}"] for x in ("1", "2.5")
    }  # fmt: skip
    assert f"[1/2] x=1\n/usr/bin/env python {tmp_path}/toy.py --mode=quick --x=1 '--y=a b' --out={runs}/x=1\n" in out
    assert "[2/2] x=2.5: done, loss 0.75\n" in out
    assert [(trial["status"], trial["metric"]) for trial in trials(runs)] == [("done", 4.5), ("done", 0.75)]
    assert "best   x=2.5: loss 0.75" in out
    while_running = json.loads((runs / "x=2.5/journal.json").read_text())["trials"]
    assert [trial["status"] for trial in while_running] == ["done", "running"]  # the state after kill -9
    assert not (runs / "table.md").exists()  # the toy writes no results


def test_other_program_runs_with_a_note_that_options_are_not_checked(sweep, tmp_path):
    _, out, _ = sweep({"no.such.option": {"value": 1}})
    assert out.splitlines()[0] == (
        f"{tmp_path}/sweep.yaml does not run gancolor's train.py, so its options are not checked"
    )


def test_concurrent_runs_write_log_files(sweep, tmp_path):
    status, out, err = sweep({"mode": {"values": ["together", "fail"]}, "x": {"values": [1, 2]}}, jobs=2)
    runs = tmp_path / "runs"
    assert status == 1
    failed = ["mode=fail, x=1 (status 1)", "mode=fail, x=2 (status 1)"]  # in the order in which they ended
    assert err in [f"failed: {'; '.join(order)}\n" for order in (failed, failed[::-1])]
    lines = out.splitlines()[1:]
    assert lines[:2] == [
        f"[{n}/4] mode=together, x={n}: started, {runs}/mode=together,x={n}/log.txt" for n in (1, 2)
    ]  # fmt: skip
    assert {"[1/4] mode=together, x=1: done", "[3/4] mode=fail, x=1: failed (status 1): the reason why"} <= {*lines}
    assert len(lines) == 8
    log = (runs / "mode=fail,x=1/log.txt").read_text()
    assert log.startswith("/usr/bin/env python ") and "something is said\n" in log and "the reason why\n" in log


def test_finished_runs_are_kept_and_failed_ones_retried(sweep, tmp_path):
    parameters = {"mode": {"values": ["quick", "fail once"]}, "x": {"values": [1, 2]}}
    assert sweep(parameters)[0] == 1
    assert [trial["status"] for trial in trials(tmp_path / "runs")] == ["done", "done", "failed", "failed"]
    assert sweep(parameters)[0] == 0
    counts = {name: len(lines) for name, lines in starts(tmp_path / "runs").items()}
    assert counts == {"mode=quick,x=1": 1, "mode=quick,x=2": 1, "mode=fail once,x=1": 2, "mode=fail once,x=2": 2}
    status, out, _ = sweep(parameters)
    assert status == 0 and out.count(" is done: ") == 4


def test_run_with_a_removed_folder_runs_again(sweep, tmp_path):
    sweep({"x": {"values": [1, 2]}})
    for path in (tmp_path / "runs/x=1").iterdir():
        path.unlink()
    (tmp_path / "runs/x=1").rmdir()
    _, out, _ = sweep({"x": {"values": [1, 2]}})
    assert out.count(" is done: ") == 1 and (tmp_path / "runs/x=1/starts").is_file()


def test_killed_sweep_resumes_with_the_interrupted_run(sweep, tmp_path):
    sweep({"x": {"values": [1, 2, 3]}})
    kept = json.loads((tmp_path / "runs/sweep.json").read_text())
    kept["trials"][1]["status"] = "running"
    del kept["trials"][2]
    (tmp_path / "runs/sweep.json").write_text(json.dumps(kept))
    assert sweep({"x": {"values": [1, 2, 3]}})[0] == 0
    assert [len(lines) for _, lines in sorted(starts(tmp_path / "runs").items())] == [1, 2, 2]


@pytest.mark.parametrize("finished", [False, True])
def test_run_that_a_killed_sweep_left_is_waited_for(sweep, tmp_path, monkeypatch, finished):
    """It is started again only if it has written no results."""
    monkeypatch.setattr("gancolor.sweeps.runner._write_table", lambda *_: None)
    folder = tmp_path / "runs" / "x=1"
    folder.mkdir(parents=True)
    (folder / ("results.json" if finished else "other.json")).write_text("{}")
    process = start_process(["sleep", "0.7"], folder)
    status, out, err = sweep({"x": {"values": [1, 2]}})
    assert process.poll() == 0 and (status, err) == (0, "")
    waits = f"[1/2] x=1: a killed sweep has left it running (process {process.pid}); waiting\n"
    assert out.index(waits) < out.index("[1/2] x=1: done") < out.index("[2/2] x=2\n")
    assert starts(tmp_path / "runs").keys() == ({"x=2"} if finished else {"x=1", "x=2"})


def test_left_process_is_found_and_terminated(tmp_path):
    assert find_leftover(tmp_path) is None
    process = start_process(["sleep", "60"], tmp_path)
    leftover = find_leftover(tmp_path)
    assert leftover.pid == process.pid
    leftover.terminate()
    assert process.wait() == -signal.SIGTERM
    assert leftover.poll() == 1 and find_leftover(tmp_path) is None


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"parameters": {"x": {"values": [1, 3]}}}, "parameters.x.values was [1, 2], is [1, 3]"),
        ({"given": {"seed": "4"}}, "--seed was 3, is 4"),
        ({"given": {}}, "--seed was 3, is not there"),
        ({"seed": 1}, "--search_seed was 0, is 1"),
        ({"metric": {"name": "other"}}, "metric.name was not there, is other"),
    ],
)
def test_another_sweep_in_the_same_folder_is_refused(sweep, tmp_path, changed, named):
    usual = {"parameters": {"x": {"values": [1, 2]}}, "given": {"seed": "3"}}
    sweep(**usual)
    before = (tmp_path / "runs/sweep.json").read_text()
    with pytest.raises(InputError, match="holds another sweep") as error:
        sweep(**{**usual, **changed})
    assert named in str(error.value) and "\n" not in str(error.value)
    assert (tmp_path / "runs/sweep.json").read_text() == before


def test_a_grid_that_gets_further_values_runs_only_them(sweep, tmp_path):
    sweep({"x": {"values": [1, 2]}, "y": {"value": 0}}, metric=LOSS)
    more = {"x": {"values": [3, 1, 2]}, "y": {"values": [0, 5]}}
    status, out, _ = sweep(more, metric=LOSS)
    assert status == 0
    assert {name: len(lines) for name, lines in starts(tmp_path / "runs").items()} == {
        "x=1": 1,
        "x=2": 1,
        **{f"x={x},y={y}": 1 for x, y in ((3, 0), (3, 5), (1, 5), (2, 5))},
    }
    assert [trial["name"] for trial in trials(tmp_path / "runs")] == [
        *("x=1, y=0", "x=2, y=0", "x=3, y=0", "x=3, y=5", "x=1, y=5", "x=2, y=5")
    ]
    assert "[1/6] x=1, y=0 is done" in out and "[6/6] x=2, y=5: done" in out
    assert sweep(more, metric=LOSS)[0] == 0
    with pytest.raises(InputError, match="holds another sweep"):
        sweep({"x": {"values": [3, 1]}, "y": {"values": [0, 5]}}, metric=LOSS)


def test_a_grid_gets_a_further_file_of_options(sweep, tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("loss: {l1: .inf}")
    two.write_text("loss: {l1: 2}")
    sweep({"config": {"values": [str(one)]}})
    assert sweep({"config": {"values": [str(one)]}})[0] == 0
    status, out, _ = sweep({"config": {"values": [str(one), str(two)]}})
    assert status == 0 and "[1/2]" in out and "[2/2]" in out
    one.write_text("loss: {l1: 3}")
    with pytest.raises(InputError, match=r"one\.yaml\.loss\.l1 was None, is 3"):
        sweep({"config": {"values": [str(one), str(two)]}})


def test_a_grid_with_further_values_ends_at_its_number_of_runs(sweep, tmp_path):
    sweep({"x": {"values": [1, 2]}})
    sweep({"x": {"values": [0, 1, 2, 3]}}, trials=3)
    assert sorted(starts(tmp_path / "runs")) == ["x=0", "x=1", "x=2"]
    assert len(trials(tmp_path / "runs")) == 3


def test_a_file_of_options_that_was_edited_makes_another_sweep(sweep, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("optim: {lr_g: 0.1}")
    parameters = {"config": {"value": str(config)}, "x": {"values": [1]}}
    sweep(parameters)
    config.write_text("optim: {lr_g: 0.1} # the same")
    assert sweep(parameters)[0] == 0
    config.write_text("optim: {lr_g: 0.2}")
    with pytest.raises(InputError, match=r"mine\.yaml\.optim\.lr_g was 0\.1, is 0\.2"):
        sweep(parameters)


def test_name_and_number_of_runs_may_change(sweep, tmp_path):
    parameters = {"x": X}
    sweep(parameters, method="random", run_cap=2)
    first = trials(tmp_path / "runs")
    sweep(parameters, method="random", run_cap=9, name="mine", trials=3)
    assert trials(tmp_path / "runs")[:2] == first
    assert starts(tmp_path / "runs")["trial-000"][1:] == []
    assert len(trials(tmp_path / "runs")) == 3


def test_second_sweep_in_a_folder_is_refused(sweep, tmp_path):
    from filelock import FileLock

    (tmp_path / "runs").mkdir()
    with FileLock(tmp_path / "runs/.lock"), pytest.raises(InputError, match="another process runs a sweep"):
        sweep({"x": {"value": 1}})


def test_search_without_run_cap_is_refused(sweep, tmp_path):
    with pytest.raises(InputError, match="run_cap in the file, or --trials N"):
        sweep({"x": X}, method="random")
    assert not (tmp_path / "runs").exists()
    assert sweep({"x": {"values": [1, 2, 3]}}, run_cap=2)[1].count(": done") == 2
    assert sweep({"x": {"values": [1, 2, 3]}}, run_cap=2, trials=1, folder="other")[1].count(": done") == 1


def test_random_runs_are_numbered_and_named(sweep, tmp_path):
    sweep({"x": X, "mode": {"value": "quick"}}, method="random", trials=2, metric=LOSS)
    one, two = trials(tmp_path / "runs")
    assert (one["folder"], two["folder"]) == ("trial-000", "trial-001")
    assert one["name"] == f"trial-000: x={one['values']['x']}"
    sweep({"x": X, "mode": {"value": "quick"}}, method="random", trials=2, metric=LOSS, seed=1, folder="other")
    assert trials(tmp_path / "other")[0]["values"] != one["values"]


def test_resumed_bayes_draws_the_same_values(sweep, tmp_path):
    how = {"parameters": {"x": X, "y": X}, "method": "bayes", "metric": LOSS}
    sweep(**how, trials=8)
    sweep(**how, trials=6, folder="other")
    sweep(**how, trials=8, folder="other")
    whole, halves = trials(tmp_path / "runs"), trials(tmp_path / "other")
    assert whole == halves
    assert min(trial["metric"] for trial in whole[4:]) < min(trial["metric"] for trial in whole[:4])


def test_bayes_uses_the_results_of_all_runs(sweep, monkeypatch):
    told = []

    def draw(parameters, draw, number, results):
        told.append([(result.loss, result.running) for result in results])
        return {"x": 4.0, "mode": ["quick", "fail", "quick"][number]}

    monkeypatch.setattr("gancolor.sweeps.plan.draw_bayes", draw)
    parameters = {"x": X, "mode": {"values": ["quick", "fail"]}}
    how = {"method": "bayes", "metric": {"name": "loss", "goal": "maximize"}, "trials": 3}
    sweep(parameters, **how)
    assert told == [[], [(-2.5, False)], [(-2.5, False), (None, False)]]  # the best value of each run
    told.clear()
    sweep(parameters, **how, jobs=3, folder="at once")
    assert told == [[], [(None, True)], [(None, True), (None, True)]]


def test_metric_that_is_not_logged_gives_a_warning(sweep, tmp_path):
    status, _, err = sweep({"x": X}, method="bayes", trials=2, metric={"name": "losss"})
    assert (status, err.count("\n")) == (0, 1)
    for part in ("sweep.yaml: metric: trial-000", "logged no losss", "it logged loss; did you mean loss?", "at random"):
        assert part in err


def test_target_ends_the_sweep(sweep, tmp_path):
    _, out, _ = sweep({"x": {"values": [1, 3, 4]}}, metric={"name": "loss", "target": 0.5})
    assert "loss has reached 0.5: x=3" in out
    assert {*starts(tmp_path / "runs")} == {"x=1", "x=3"}


def test_hyperband_stops_a_worse_run_permanently(sweep, tmp_path):
    parameters = {"x": {"values": [3, 4, 9]}, "mode": {"value": "bad is slow"}}
    how = {"metric": LOSS, "early_terminate": {"type": "hyperband", "min_iter": 5, "eta": 2}}
    status, out, _ = sweep(parameters, **how)
    runs = tmp_path / "runs"
    assert status == 0
    assert [trial["status"] for trial in trials(runs)] == ["done", "done", "stopped early"]
    assert (runs / "x=9/saved").is_file()  # it got SIGTERM, and the runner waited for it
    assert 5 <= len((runs / "x=9/metrics.jsonl").read_text().splitlines()) < 60
    assert "stopped early, and not in the table: x=9" in out
    status, out, _ = sweep(parameters, **how)
    assert status == 0 and "x=9 is stopped early: " in out
    assert len(starts(runs)["x=9"]) == 1


def test_json_file(sweep, tmp_path):
    read = tmp_path / "read.py"
    read.write_text("import json, sys; v = json.load(open(sys.argv[1])); open(v['out'] + '/got', 'w').write(repr(v))")
    command = ["${interpreter}", str(read), "${args_json_file}"]
    assert sweep({"x": {"value": None}}, command=command)[0] == 0
    assert (tmp_path / "runs/x=None/got").read_text() == repr({"x": None, "out": str(tmp_path / "runs/x=None")})


def test_missing_programs_are_refused(sweep, tmp_path):
    with pytest.raises(InputError, match=r"there is no none\.py here"):
        sweep({"x": {"value": 1}}, program="none.py")
    with pytest.raises(InputError, match=r"sweep\.yaml: no-such-tool: No such file"):
        sweep({"x": {"value": 1}}, command=["no-such-tool", "${args}"])


def test_colliding_or_long_folder_names_are_numbered(sweep, tmp_path):
    sweep({"x": {"values": ["1/2", "1_2"]}}, {"x": "1"}, folder="one")
    assert [trial["folder"] for trial in trials(tmp_path / "one")] == ["x=1"]
    for values in (["a/b", "a_b"], ["a" * 300, "b"]):
        folder = f"of {values[1]}"
        sweep({"y": {"values": values}}, folder=folder)
        assert [trial["folder"] for trial in trials(tmp_path / folder)] == ["trial-000", "trial-001"]


def test_slots(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert _slots(None) == ["0", "1", "2"]
    assert _slots(1) == [None]
    assert _slots(5) == ["0", "1", "2", "0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 7")
    assert _slots(None) == ["4", "7"]
    assert _slots(3) == ["4", "7", "4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    assert _slots(None) == [None]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert (_slots(None), _slots(2)) == ([None], [None, None])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert (_slots(None), _slots(2)) == ([None], [None, None])


def test_one_run_per_gpu(sweep, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    sweep({"x": {"values": [1, 2, 3, 4]}, "mode": {"value": "together"}}, jobs=None)
    devices = [lines[0].split()[0] for lines in starts(tmp_path / "runs").values()]
    assert len(devices) == 4 and {*devices} == {"4", "7"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_every_run_and_the_sweep_waits_for_them(write, tmp_path, number):
    path = write({"x": {"values": [1, 2, 3]}, "mode": {"value": "long"}})
    command = "from gancolor.cli import main; import sys; sys.argv[0] = 'gancolor'; main()"
    words = [sys.executable, "-c", command, "sweep", str(path), "--out", str(tmp_path / "runs"), "--jobs", "2"]
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        words, cwd=root, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    limit = time.monotonic() + 60
    while len([*tmp_path.glob("runs/*/metrics.jsonl")]) < 2:
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.02)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # a terminal signals all processes
    else:
        process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, "")
    assert len([*tmp_path.glob("runs/*/saved")]) == 2 and "[3/3]" not in out
    assert [trial["status"] for trial in trials(tmp_path / "runs")] == ["interrupted", "interrupted"]
    assert out.count(": interrupted; the same command resumes it") == 2
