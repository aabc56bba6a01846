"""The commands' error handling."""

import subprocess
import sys

PROGRAM = """
import sys
from gancolor import cli

def write():
    for _ in range(100_000):
        print("a line of a long output")
        sys.stdout.flush()

cli.run(write)
"""


def test_reader_that_leaves_early_causes_no_message():
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "a line of a long output\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(30) == 141
