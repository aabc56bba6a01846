"""Scores generators on photographs: `python evaluate.py RUN|CHECKPOINT... --data.source DIR`; see `--help`."""

from gancolor import cli
from gancolor.parsing import parse_evaluate


def main() -> None:
    config = parse_evaluate()
    from gancolor.comparison import Comparison  # brings torch, which `--help` does without

    comparison = Comparison(config)
    comparison.score()
    comparison.write()


if __name__ == "__main__":
    cli.run(main)
