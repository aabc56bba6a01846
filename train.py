"""Train a colorization GAN: `python train.py --arch attention_ugan --data.source DIR`; see `--help`."""

from gancolor import cli
from gancolor.training.command import run_train

if __name__ == "__main__":
    cli.run(run_train)
