import os
import subprocess
import sys

import pytest

from gancolor.utils.cores import cores

# Two that come and go in turn: the first to leave must not set back what the second relies on, nor the second keep what
# the first had set; and the setting stays anybody's.
CODE = """
import threading
import numpy
from threadpoolctl import threadpool_info, threadpool_limits
from gancolor.utils.blas import one_thread

def threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

assert threads() == {2}, threads()
entered, leave = threading.Event(), threading.Event()

def other():
    with one_thread:
        entered.set()
        leave.wait(10)

thread = threading.Thread(target=other)
with one_thread:
    thread.start()
    entered.wait(10)
    assert threads() == {1}, threads()
assert threads() == {1}, threads()
leave.set()
thread.join()
assert threads() == {2}, threads()
with threadpool_limits(limits=1, user_api="blas"):
    assert threads() == {1}, threads()
"""


@pytest.mark.skipif(len(cores()) < 2, reason="with one core, there is one thread anyway")
def test_one_thread_limit_is_nested_and_restored() -> None:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
