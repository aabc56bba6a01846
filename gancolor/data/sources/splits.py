"""Names of the parts of a data set: folders or shards for training, for validation and for tests."""

import re
import sys
from collections.abc import Collection, Iterable

from gancolor.utils import distributed
from gancolor.utils.errors import InputError
from gancolor.utils.words import first_of

NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_LIKE = re.compile(
    r"(?P<before>(?:.*[\W_])?)(?:(?P<train>train(?:ing)?)|(?P<val>val(?:id(?:ation)?)?)|(?P<test>test(?:ing)?))"
    r"[\W_]*(?:set|data|split|images|photos|pictures)?s?[\W_\d]*[ab]?"  # trainA, as of CycleGAN
)


def find_parts(names: Iterable[str], where: object) -> tuple[str | None, str | None]:
    """Return the names of the parts for training and validation, whatever their case; a part for tests is used for
    validation if there is no other.

    Raises:
        InputError: two parts have the same purpose.
    """
    found = {kind: [name for name in names if name.lower() in words] for kind, words in NAMES.items()}
    wanted = ("train", "val" if found["val"] else "test")
    if found["train"]:
        for kind in wanted:
            if len(found[kind]) > 1:
                one, other = sorted(found[kind])[:2]
                raise InputError(
                    f"--data.source {where}: {one} and {other} are both in it; rename or remove one of them"
                )
    train, val = (next(iter(found[kind]), None) for kind in wanted)
    return train, val


def kind_of_part(name: str, anywhere: bool = False) -> str | None:
    """Return the kind of part (train, val, test) that a name looks like, such as Train_1, valset or test2; else None.

    Args:
        anywhere: also for names that only end like that, such as imagenet-val-000.
    """
    found = _LIKE.fullmatch(name.lower())
    if not found or (found["before"] and not anywhere):
        return None
    return next(kind for kind in NAMES if found[kind])


def warn_of_mixed(names: Collection[str], where: object) -> None:
    """Warn that these names look like parts of a split, but are not kept apart."""
    if names:
        _warn(
            f"{where}: {first_of(sorted(names))} in it look{'s' * (len(names) == 1)} like part of a split, but only "
            "folders train and val (or valid, validation, test) directly in --data.source are kept apart"
        )


def warn_of_unused(names: Collection[str], used: str, where: object) -> None:
    """Warn that only one of several folders is used, because its name is train."""
    if names:
        _warn(
            f"{where}: only {used} in it is used, and some of it held out for validation; not used: "
            f"{first_of(sorted(names))} (call the folder of validation photographs val; if train is a class, rename it)"
        )


def _warn(text: str) -> None:
    if distributed.is_main():
        print(f"gancolor: warning: {text}", file=sys.stderr, flush=True)
