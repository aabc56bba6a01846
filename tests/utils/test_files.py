import errno
import threading
from pathlib import Path

import pytest

from gancolor.utils import files
from gancolor.utils.files import write_atomically


def test_names_that_differ_only_at_their_ends_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=20)
    errors = []

    def write(beside: Path, content: str) -> None:
        both.wait()  # both files are open
        beside.write_text(content)
        both.wait()

    def save(path: Path) -> None:
        try:
            write_atomically(path, lambda beside: write(beside, path.name))
        except (OSError, threading.BrokenBarrierError) as error:
            errors.append(error)
            both.abort()

    paths = [tmp_path / f"{'é' * 121}{number}.jpg" for number in range(2)]
    threads = [threading.Thread(target=save, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [path.read_text() for path in paths] == [path.name for path in paths]
    assert sorted(tmp_path.iterdir()) == paths


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "x.jpg"])
def test_any_name_that_the_file_system_allows(tmp_path: Path, name: str) -> None:
    write_atomically(tmp_path / name, lambda beside: beside.write_text("x"))
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_file_systems_without_modes_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(Path, "chmod", refuse)
    write_atomically(tmp_path / "x.jpg", lambda beside: beside.write_text("x"))
    assert (tmp_path / "x.jpg").read_text() == "x"


@pytest.mark.parametrize("others", [False, True])
def test_interruption_before_the_lock_leaves_no_file_but_that_of_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: bool
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if others:
        (tmp_path / ".x.jpg.part").write_text("being written")
    monkeypatch.setattr(files.fcntl, "flock", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x.jpg", lambda beside: beside.write_text("x"))
    assert [path.name for path in tmp_path.iterdir()] == [".x.jpg.part"] * others
