"""The cores that this process may use."""

import os
from collections.abc import Sequence


def cores() -> Sequence[int]:
    """Their numbers: fewer than the machine has where taskset or a container's set of CPUs gives fewer. (A quota of
    time, as of `docker --cpus`, takes no core away.)"""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
