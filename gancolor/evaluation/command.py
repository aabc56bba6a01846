"""The command `gancolor evaluate`, which is also `python evaluate.py`."""

import sys
from collections.abc import Sequence

from gancolor.config.evaluate import EvaluateConfig
from gancolor.config.parsing import instantiate, make_parser, normalized_words
from gancolor.data.sources.public import absolute_source


def run_evaluate(argv: Sequence[str] | None = None, prog: str = "evaluate.py") -> int:
    """Evaluate as the command line says, and return the exit status."""
    config = parse_evaluate(argv, prog)
    from gancolor.evaluation.evaluator import Evaluator  # imports torch, which `--help` does not need

    evaluator = Evaluator(config)
    evaluator.evaluate()
    evaluator.write()
    return evaluator.status


def parse_evaluate(argv: Sequence[str] | None = None, prog: str = "evaluate.py") -> EvaluateConfig:
    """Parse an evaluation's command line; errors print one line and exit with status 2.

    Args:
        argv: the words; None: those of this process.
        prog: the command's name, for help and errors.
    """
    description = (
        "Scores generators and other tools' pictures on photographs, with the grey baseline and the ground truth."
    )
    parser = make_parser(prog, EvaluateConfig, description)
    parser.add_argument(
        "checkpoints",
        nargs="*",
        default=[],
        metavar="CHECKPOINT",
        help="run folders, exported generators (.safetensors), run states, or bundled: the generator that comes with "
        "gancolor",
    )
    parser.add_argument(
        "--predictions", action="append", default=[], metavar="NAME=DIR",
        help="score a folder of another tool's pictures, matched by file name; may be repeated",
    )  # fmt: skip
    words = normalized_words(sys.argv[1:] if argv is None else list(argv), EvaluateConfig)
    config: EvaluateConfig = instantiate(parser, words, EvaluateConfig)
    if not config.checkpoints and not config.predictions:
        parser.error("nothing to score: give run folders or checkpoints, or --predictions NAME=DIR")
    if config.data.source:
        config.data.source = absolute_source(config.data.source)
    return config
