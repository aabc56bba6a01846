from pathlib import Path

import damaged_films
import pytest


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    return damaged_films.make_films(tmp_path_factory.mktemp("films"))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_whole_films_are_coloured_whole(tmp_path: Path, whole) -> None:
    for suffix, data in whole.items():
        film = tmp_path / suffix[1:] / f"film{suffix}"
        film.parent.mkdir()
        film.write_bytes(data)
        assert damaged_films.colour(film) == ("whole", "")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_films_end_well(tmp_path: Path, whole) -> None:
    for number in range(24):
        film, damage = damaged_films.make_damaged(tmp_path / str(number), whole, 0, number)
        end, words = damaged_films.colour(film)
        assert end in damaged_films.ENDS[:4], (number, damage, words)
