"""Score generators, and other tools' pictures, on photographs: `python evaluate.py RUN|CHECKPOINT... --data.source
DIR`; see `--help`."""

from gancolor import cli


def main() -> int:
    from gancolor.evaluation.command import run_evaluate  # a missing package is reported in one line

    return run_evaluate()


if __name__ == "__main__":
    cli.run(main)
