"""Train a colorization GAN: `python train.py --arch attention_ugan --data.source DIR`; see `--help`."""

from gancolor import cli


def main() -> int:
    from gancolor.training.command import run_train  # a missing package is reported in one line

    return run_train()


if __name__ == "__main__":
    cli.run(main)
