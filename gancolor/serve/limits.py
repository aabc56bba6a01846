"""Limits of the service."""

from dataclasses import dataclass

MOST_SIZE = 512  # of the working size [pixels]: time and memory grow with its square, and anyone may ask for it
HINT_BYTES = 2**18  # of the hints in a form, some four thousand
# Characters of the hints in a query string: servers refuse addresses above 64 KB, of which a character may take twelve
# bytes.
QUERY_HINTS = 4096


@dataclass(frozen=True)
class Limits:
    """What a request may take.

    Attributes:
        upload_mb: size of a request's body [megabytes of 2**20 bytes].
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
