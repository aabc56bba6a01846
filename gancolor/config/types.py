"""Restricted numbers, and weights that may be off, which jsonargparse checks when it parses."""

import math
from typing import TYPE_CHECKING, TypeAlias

from jsonargparse.typing import register_type, restricted_number_type

from gancolor.choices import MOST_STRENGTH

MOST_EPOCHS = 1_000_000

if TYPE_CHECKING:
    UpToOne: TypeAlias = float
    BelowOne: TypeAlias = float
    NonNegative: TypeAlias = float
    Positive: TypeAlias = float
    Epochs: TypeAlias = float
    SomeEpochs: TypeAlias = float
    Neighbours: TypeAlias = int
    Strength: TypeAlias = float
    Side: TypeAlias = int
    Seed: TypeAlias = int
    Weights: TypeAlias = str
else:
    UpToOne = restricted_number_type("UpToOne", float, [(">", 0), ("<=", 1)], docstring="above 0, at most 1")
    BelowOne = restricted_number_type("BelowOne", float, [(">=", 0), ("<", 1)], docstring="at least 0, below 1")
    NonNegative = restricted_number_type(
        "NonNegative", float, [(">=", 0), ("<", math.inf)], docstring="finite, 0 or more"
    )
    Positive = restricted_number_type("Positive", float, [(">", 0), ("<", math.inf)], docstring="finite, above 0")
    # Multiplied by the steps per epoch, the largest floats would be infinite.
    Epochs = restricted_number_type("Epochs", float, [(">=", 0), ("<=", MOST_EPOCHS)], docstring="0 to a million")
    SomeEpochs = restricted_number_type(
        "SomeEpochs", float, [(">", 0), ("<=", MOST_EPOCHS)], docstring="above 0, at most a million"
    )
    Strength = restricted_number_type(
        "Strength", float, [(">=", 0), ("<=", MOST_STRENGTH)], docstring=f"0 to {MOST_STRENGTH:g}"
    )
    Neighbours = restricted_number_type("Neighbours", int, [(">=", 1), ("<=", 313)], docstring="bins, 1 to 313")
    Side = restricted_number_type("Side", int, [(">=", 16), ("<=", 4096)], docstring="pixels, 16 to 4096")
    Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**31)], docstring="0 to 2147483647")

    class Weights(str):
        """Name of a file of weights, "auto", or "off", which YAML reads as false."""

        __slots__ = ()

    def _weights(given: object) -> Weights:
        word = str(given).lower()
        if word in ("", "none", "null", "true", "on", "yes"):
            raise ValueError(f"{given} names no weights; give auto, off or a file")
        return Weights("off" if word in ("off", "false", "no") else given)

    register_type(Weights, serializer=str, deserializer=_weights)
