"""Photographs of sources that deliver a file's bytes, not its path."""

import hashlib
from abc import ABC, abstractmethod
from io import BytesIO

from torch import Tensor

from gancolor.data.decode import Fit, decode_bytes, fit_square, upright_size


class EncodedPhoto(ABC):
    """A photograph that is read as the bytes of a picture file."""

    @abstractmethod
    def read(self) -> bytes:
        """Return the file's bytes."""

    def digest(self) -> str:
        return hashlib.sha256(self.read()).hexdigest()

    def upright_size(self) -> tuple[int, int]:
        return upright_size(BytesIO(self.read()))

    def load(self, size: int, fit: Fit = "crop") -> Tensor:
        return fit_square(decode_bytes(self.read()), size, fit)
