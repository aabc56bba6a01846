import json
import time

import gpu
import gpu_checks
import pytest


@pytest.fixture
def acceptance(tmp_path):
    return gpu.Acceptance(tmp_path, {"hardware": "a card"}, time.monotonic() + 60)


def test_results_of_each_step_are_written_when_it_ends(acceptance):
    code = "print('{\"what\": \"x\", \"passed\": true}'); print('| a |'); print('words'); print('{\"cut')"
    acceptance.run(gpu.Step("one", 1, ["-c", code]), 30)
    acceptance.run(gpu.Step("two", 1, ["-c", "raise SystemExit(3)"]), 30)
    one, two = json.loads((acceptance.out / "results.json").read_text())["steps"]
    assert (one["status"], one["rows"], one["text"]) == ("passed", [{"what": "x", "passed": True}], "| a |")
    assert two["status"] == "failed with status 3: see two.log"
    shown = (acceptance.out / "results.md").read_text()
    assert "- hardware: a card" in shown and "| one | passed |" in shown and "| x | True |" in shown


def test_step_is_stopped_at_its_limit_and_keeps_its_rows(acceptance, monkeypatch):
    monkeypatch.setattr(gpu, "GRACE", 0.2)
    monkeypatch.setattr(gpu, "LEAST", 0)
    stubborn = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('{\"what\": 1}', flush=True); time.sleep(60)"
    )
    outcome = acceptance.run(gpu.Step("slow", 1, ["-c", stubborn]), 1.0)
    assert outcome.status == "stopped after 1 s" and outcome.seconds < 10
    assert outcome.rows == [{"what": 1}]


def test_steps_without_time_are_left_out(acceptance):
    assert acceptance.run(gpu.Step("late", 1, ["-c", "raise SystemExit(3)"]), 1.0).status == "left out: no time"


def test_steps_leave_time_for_the_training():
    for device in ("cpu", "cuda"):
        steps = gpu.steps_of(gpu.parse(["--minutes", "9", "--out", "x", "--device", device]))
        assert sum(step.share for step in steps) < 1
        checks = [step.name for step in steps if step.command[0].endswith("gpu_checks.py")]
        assert sorted(checks) == sorted(gpu_checks.CHECKS)


def test_checks_find_differences():
    expected = {"pretrain l1": 0.5, "pretrain gan": 0.001}
    assert gpu_checks.apart(expected, {"pretrain l1": 0.51, "pretrain gan": 0.0012}) == pytest.approx(0.02)
    assert not gpu_checks.compared("x", float("nan"), 1.0)["passed"]
    assert [row["passed"] for row in gpu_checks.check_color("cpu")] == [True, True]
