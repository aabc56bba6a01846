"""Random numbers that depend on a photograph's name alone, so that they are the same on every machine."""

import hashlib

import torch


def generator_of_name(name: str) -> torch.Generator:
    """Return a random generator on the CPU whose seed is the name."""
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 2**63)
