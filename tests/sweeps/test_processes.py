"""Processes of a sweep's runs."""

import fcntl
import sys

from gancolor.sweeps.processes import LOCK, Leftover, start_process


def test_a_lock_that_a_dead_launchers_child_holds_does_not_block(tmp_path):
    """The run's own lock decides whether another process trains in its folder."""
    with (tmp_path / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        process = start_process([sys.executable, "-c", "input()"], tmp_path, stdin=-1)
        assert Leftover(tmp_path).pid == process.pid
        assert Leftover(tmp_path).poll() is None
        process.communicate(b"\n", timeout=30)
    assert Leftover(tmp_path).poll() is not None
