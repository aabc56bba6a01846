"""Score generators, and other tools' pictures, on photographs: `python evaluate.py RUN|CHECKPOINT... --data.source
DIR`; see `--help`."""

from gancolor import cli
from gancolor.evaluation.command import run_evaluate

if __name__ == "__main__":
    cli.run(run_evaluate)
