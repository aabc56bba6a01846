"""Limits of the service."""

from dataclasses import dataclass

MEGA = 10**6
MOST_SIZE = 1024  # of the working size [pixels]: memory grows with its square, and anyone may ask for it
HINT_BYTES = 2**18  # of the hints, some four thousand


@dataclass(frozen=True)
class Limits:
    """What a request may take.

    Attributes:
        upload_mb: size of a request's body [megabytes].
        megapixels: of a photograph.
        waiting: requests that wait while another photograph is coloured.
        seconds: from a request's start to its answer.
    """

    upload_mb: int = 50
    megapixels: int = 50
    waiting: int = 16
    seconds: int = 60

    def describe(self) -> str:
        """Return the limits as sentences, for the OpenAPI document."""
        return (
            f"A request's body may have {self.upload_mb} MB, and a photograph {self.megapixels} megapixels (413). "
            f"Photographs are coloured one at a time, and {self.waiting} requests may wait (503 with `Retry-After`). "
            f"An upload may take {self.seconds} s (408), and a request altogether as long (503 with `Retry-After`)."
        )
