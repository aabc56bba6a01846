"""Choice of the photographs that an evaluation scores: those that no generator was trained on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gancolor.config.evaluate import EvaluateDataConfig
from gancolor.config.options import DEMO_PHOTOS
from gancolor.data.catalogue import Item, Selection, Source, shuffled
from gancolor.data.sources.find import find_source, open_source
from gancolor.evaluation.protocols import Protocol
from gancolor.utils.errors import InputError
from gancolor.utils.metadata import section

About = Mapping[str, Any]  # a checkpoint's metadata


@dataclass(frozen=True)
class Choice:
    """The photographs to score.

    Attributes:
        source: that they are from.
        items: the photographs.
        noun, scope: what they are called in the output, such as "photograph" and " (all)".
        seed: of the shuffles that held out and limited them.
    """

    source: Source
    items: Sequence[Item]
    noun: str
    scope: str
    seed: int


def choose_photographs(data: EvaluateDataConfig, abouts: Sequence[About], protocol: Protocol, size: int) -> Choice:
    """Choose the source's validation photographs, or all its photographs if it has no validation folder and no
    checkpoint was trained on it.

    Args:
        abouts: the checkpoints' metadata.
        size: side of the square photographs [pixels].

    Raises:
        InputError: there are no such photographs, or it is not known which of them the checkpoints were trained on.
    """
    name = data.source or (section(abouts[0], "data").get("source") if abouts else None)
    if name is None:
        unknown = "the first checkpoint does not say what it was trained on; " if abouts else "without a checkpoint, "
        raise InputError(f"{unknown}give --data.source")
    splits = set(_splits(name, abouts))
    known = {split for split in splits if None not in split}
    seed, val_fraction = min(known, default=(0, 0.5))
    configs = [section(about, "config") for about in abouts if _trained_on(about, name)]
    demo_photos = max(
        (section(config, "data").get("demo_photos", DEMO_PHOTOS) for config in configs), default=DEMO_PHOTOS
    )
    try:
        found = find_source(name, seed, val_fraction, demo_photos=demo_photos)
    except InputError:
        if data.source:
            raise
        raise InputError(f"the first checkpoint's photographs ({name}) are not here; give --data.source") from None
    source = open_source(found, size, data.cache, protocol.fit, val_only=True)
    if source.held_out and splits != known:
        raise InputError(
            f"a checkpoint was trained on a part of {name} and does not say on which; give --data.source DIR with "
            "photographs that are new to it"
        )
    if source.held_out and len(splits) > 1:
        raise InputError(
            f"the checkpoints, or those that they were fine-tuned from, held out different photographs of {name} "
            "(other --seed or --data.val_fraction), so each was trained on some of the others'; give --data.source "
            "DIR with photographs that are new to all"
        )
    items, noun, scope = source.val, "validation photograph", ""
    if source.held_out and not splits:
        assert isinstance(source.val, Selection) and isinstance(source.train, Selection)
        items, noun, scope = source.val.followed_by(source.train), "photograph", " (all)"
    items = protocol.choose(items)
    if data.val_limit is not None:
        items = shuffled(items, seed)[: data.val_limit]
    trained_on = [part for about in abouts for part in (section(about, "data"), *about.get("trained_on", []))]
    elsewhere = [part["source"] for part in trained_on if part.get("held_out") and "source" in part]
    if source.held_out and elsewhere and not splits:
        print(
            f"note: a checkpoint was trained on a part of {elsewhere[0]}; if these are the same photographs in "
            "another folder, it has seen most of them"
        )
    return Choice(source, items, noun, scope, seed)


def _trained_on(about: About, name: str) -> bool:
    return section(about, "data").get("source") == name


def _splits(name: str, abouts: Sequence[About]) -> Iterator[tuple[Any, Any]]:
    """Yield the seed and the held-out share of each training on the source; None where the metadata do not say."""
    for about in abouts:
        if _trained_on(about, name):
            config = section(about, "config")
            yield config.get("seed"), section(config, "data").get("val_fraction")
        yield from (
            (part["seed"], part["val_fraction"]) for part in about.get("trained_on", []) if part["source"] == name
        )
