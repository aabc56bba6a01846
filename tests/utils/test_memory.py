import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from gancolor.utils.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(20_000_000)  # 80 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
print(faults())
keep_freed_memory()
for _ in range(5):
    faults()
print(faults())
keep_freed_memory(False)
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_kept_memory_causes_no_page_faults():
    """Page faults are counted for five allocations of 80 MB."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    fetched, kept, given_back = map(int, done.stdout.split())
    assert kept < fetched / 10 and given_back > fetched / 10
