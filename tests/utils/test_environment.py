import pytest

from gancolor.utils.environment import environment_number
from gancolor.utils.errors import InputError


def test_numbers_are_read(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert environment_number("LOCAL_RANK", 0) == 3
    monkeypatch.delenv("LOCAL_RANK")
    assert environment_number("LOCAL_RANK", 7) == 7


@pytest.mark.parametrize("word", ["x", "", "-1", "1.5"])
def test_other_words_are_reported(monkeypatch, word):
    monkeypatch.setenv("LOCAL_RANK", word)
    with pytest.raises(InputError, match=r"\$LOCAL_RANK is '.*': set a number"):
        environment_number("LOCAL_RANK", 0)


def test_a_device_needs_a_number(monkeypatch):
    from gancolor.colorize.ranks import this_ranks_device

    monkeypatch.setenv("LOCAL_RANK", "first")
    with pytest.raises(InputError, match="LOCAL_RANK"):
        this_ranks_device("cuda")
