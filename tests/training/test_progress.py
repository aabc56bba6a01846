import re
import time

import pytest
import torch

from gancolor.training.command import parse_train
from gancolor.training.progress import Progress


@pytest.mark.parametrize(("total", "said"), [(36_010, True), (5_000, False)])
def test_long_run_on_a_cpu_announces_its_length_and_a_shorter_one(monkeypatch, capsys, tmp_path, total, said):
    """The advised options work in any current folder."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    progress = Progress("ugan", total, 0, 4, torch.device("cpu"))
    for _ in range(20):
        now[0] += 1
        progress.step({}, synchronized=False)
    progress.close()
    line = capsys.readouterr().out.strip()
    assert line.startswith("about 10 hours left; ") == said
    if said:
        monkeypatch.chdir(tmp_path)
        assert parse_train(re.search(r"give (--.*)$", line)[1].split()).data.size < 256
