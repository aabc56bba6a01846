"""Train a colorization GAN: `python train.py --arch attention_ugan --data.source DIR`; see `--help`."""

from gancolor import cli


def main() -> int:
    from gancolor.parsing import parse_train

    config = parse_train()
    from gancolor.trainer import Trainer  # imports torch, which `--help` does not need

    return Trainer(config).fit()


if __name__ == "__main__":
    cli.run(main)
