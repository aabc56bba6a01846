"""Types of command-line arguments."""

import argparse


def count(text: str) -> int:
    """Parse a number from 1."""
    return _whole(text, 1)


def seed(text: str) -> int:
    """Parse a number from 0."""
    return _whole(text, 0)


def port(text: str) -> int:
    """Parse a port, 1 to 65535."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port from 1 to 65535")
    return int(text)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number >= {least}")
    return int(text)
