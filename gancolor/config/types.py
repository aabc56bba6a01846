"""Restricted numbers, which jsonargparse checks when it parses."""

import math
from typing import TYPE_CHECKING, TypeAlias

from jsonargparse.typing import restricted_number_type

if TYPE_CHECKING:
    UpToOne: TypeAlias = float
    BelowOne: TypeAlias = float
    NonNegative: TypeAlias = float
    Positive: TypeAlias = float
    Neighbours: TypeAlias = int
    Side: TypeAlias = int
    Seed: TypeAlias = int
else:
    UpToOne = restricted_number_type("UpToOne", float, [(">", 0), ("<=", 1)], docstring="above 0, at most 1")
    BelowOne = restricted_number_type("BelowOne", float, [(">=", 0), ("<", 1)], docstring="at least 0, below 1")
    NonNegative = restricted_number_type(
        "NonNegative", float, [(">=", 0), ("<", math.inf)], docstring="finite, 0 or more"
    )
    Positive = restricted_number_type("Positive", float, [(">", 0), ("<", math.inf)], docstring="finite, above 0")
    Neighbours = restricted_number_type("Neighbours", int, [(">=", 1), ("<=", 313)], docstring="bins, 1 to 313")
    Side = restricted_number_type("Side", int, [(">=", 16), ("<=", 4096)], docstring="pixels, 16 to 4096")
    Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**31)], docstring="0 to 2147483647")
