import pytest

from gancolor.utils.words import abbreviated


@pytest.mark.parametrize(
    ("number", "text"), [(54_413_955, "54.4 M"), (1_000_000, "1.0 M"), (21_384, "21 k"), (0, "0 k")]
)
def test_large_numbers(number, text):
    assert abbreviated(number) == text
