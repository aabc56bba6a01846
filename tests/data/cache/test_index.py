"""Columns on the disk, and names that are made when they are asked for."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gancolor.data.cache import index
from gancolor.data.cache.index import Columns, IndexWriter, Names, Skip, combined, in_order

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=30)


@given(names=NAMES, chance=st.randoms())
def test_names_are_a_sequence_of_strings(names, chance):
    found = Names.of(names)
    assert len(found) == len(names) and list(found) == names and found == names
    assert [found[number] for number in range(len(names))] == names and list(found[::-1]) == names[::-1]
    rows = np.array([chance.randrange(len(names)) for _ in names], np.int64)
    chosen = found.select(rows)
    assert list(chosen) == [names[row] for row in rows] and list(chosen[1:3]) == [names[row] for row in rows[1:3]]
    with pytest.raises(IndexError):
        found[len(names)]


def test_names_are_read_in_parts(monkeypatch):
    monkeypatch.setattr(index, "AT_ONCE", 4)
    names = [f"{number}é" for number in range(11)]
    assert list(Names.of(names)) == names and list(Names.of(names)[::2]) == names[::2]
    assert Names.of(names) != names[:-1] and Names.of(names) != [*names[:-1], "other"]


@pytest.fixture
def written(tmp_path):
    writer = IndexWriter(tmp_path)
    for number, name in enumerate("abcde"):
        if name == "c":
            writer.skip(number, name, "truncated\n")
        else:
            writer.append(number, name, number % 2, number + 0.5, f"digest {name}", (0, number, 7))
    writer.close(np.array([5, 3]), ["x", "y"])
    return Columns.open(tmp_path)


def test_columns_are_read_as_they_were_written(written):
    assert written.names == list("abde") and written.items.tolist() == [0, 1, 3, 4]
    assert written.labels.tolist() == [5, 3, 3, 5] and written.colorfulness.tolist() == [0.5, 1.5, 3.5, 4.5]
    assert written.places.tolist() == [[0, number, 7] for number in (0, 1, 3, 4)]
    assert written.skipped == {"c": "truncated\n"} and written.classes == ("x", "y")
    assert written.skipped_among(np.array([1, 2])) == {"c": "truncated\n"}
    assert written.skipped_among(np.array([1, 3])) == {}
    assert written.rows_of(np.array([4, 2, 0, 3])).tolist() == [3, 0, 2]


def test_columns_of_nothing(tmp_path):
    IndexWriter(tmp_path).close()
    columns = Columns.open(tmp_path)
    assert len(columns) == 0 and list(columns.names) == [] and columns.contents.shape == (0, 32)
    assert replace(columns, skips=(Skip(0, "a", "empty", False),)).rows_of(np.arange(1)).tolist() == []


def test_digest_is_of_what_is_there_in_whatever_order(monkeypatch):
    columns = Columns.of(list("abcdefg"), [0] * 7, [0] * 7)
    whole, order = combined(columns.contents, None), in_order(columns.contents, None)
    monkeypatch.setattr(index, "AT_ONCE", 3)
    backwards = np.arange(7)[::-1]
    assert combined(columns.contents, None) == combined(columns.contents, backwards) == whole
    assert in_order(columns.contents, None) == in_order(columns.contents, np.arange(7)) == order
    assert in_order(columns.contents, backwards) != order
    renamed = Columns.of(list("abcdefh"), [0] * 7, [0] * 7).contents
    changed = Columns.of(list("abcdefg"), [0] * 7, [0] * 7, list("1234567")).contents
    fewer = combined(columns.contents, backwards[1:])
    assert len({whole, fewer, combined(renamed, None), combined(changed, None)}) == 4


def test_digest_of_known_photographs_never_changes():
    """It is the same on every machine, so that results compare."""
    columns = Columns.of(["a.jpg", "é/b.png"], [0, 0], [0, 0], ["00", "ff"])
    assert combined(columns.contents, None) == "209ef1af425dbe4468686aa2f33b61ae326b9f96976ffcc98511d3dcced5df32"
