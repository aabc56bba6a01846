"""The CPU cores that this process may use."""

import os
from collections.abc import Sequence


def cores() -> Sequence[int]:
    """Return the numbers of the cores that this process may use.

    taskset or a container's CPU set can reduce them; a CPU time quota (`docker --cpus`) does not.
    """
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
