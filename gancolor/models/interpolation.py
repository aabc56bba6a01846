"""Interpolation between two generators' weights."""

from pathlib import Path

from gancolor.models.checkpoint import describe, export_generator, load_generator
from gancolor.utils.errors import InputError
from gancolor.utils.files import file_digest


def interpolate(path: Path, other: Path, share: float, out: Path) -> None:
    """Write a generator with the weights share x `path`'s + (1 - share) x `other`'s (Wortsman 2022, "Robust fine-tuning
    of zero-shot models", https://arxiv.org/abs/2109.01903).

    If `path` was fine-tuned from `other`, the share sets a compromise between the two without further training. The
    metrics in the two files are not copied.

    Args:
        path, other: checkpoints of the same architecture and options.
        share: weight of `path`, in [0, 1].

    Raises:
        InputError: a checkpoint can't be read, or they hold different generators.
    """
    if not 0 <= share <= 1:
        raise InputError(f"--interpolate {other} {share:g}: the share must be a number from 0 to 1")
    about = describe(path)
    if about["generator"] != describe(other)["generator"]:
        raise InputError(f"--interpolate {other}: its generator differs from {path}'s (architecture or options)")
    generator, second = load_generator(path), load_generator(other).state_dict()
    for name, tensor in generator.state_dict().items():
        if tensor.is_floating_point():  # counters of batches are kept
            tensor.lerp_(second[name], 1 - share)
    kept = {
        name: value for name, value in about.items() if name not in ("metrics", "grey", "parity", "weights", "kind")
    }
    export_generator(out, generator, kept | {"interpolated": {"share": share, "with_sha256": file_digest(other)}})
