"""Score generators, and other tools' pictures, on photographs: `python evaluate.py RUN|CHECKPOINT... --data.source
DIR`; see `--help`."""

from gancolor import cli


def main() -> int:
    from gancolor.parsing import parse_evaluate

    config = parse_evaluate()
    from gancolor.evaluator import Evaluator  # imports torch, which `--help` does not need

    evaluator = Evaluator(config)
    evaluator.evaluate()
    evaluator.write()
    return evaluator.status


if __name__ == "__main__":
    cli.run(main)
