import os
import subprocess
import sys

import pytest

from gancolor.utils.cores import cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux has it")
def test_cores_are_those_of_the_processs_affinity():
    given = max(os.sched_getaffinity(0))
    script = f"import os; os.sched_setaffinity(0, [{given}]); from gancolor.utils.cores import cores; print(*cores())"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.split() == [str(given)]


def test_cores_without_affinity_support_are_all(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert list(cores()) == [0, 1, 2]
