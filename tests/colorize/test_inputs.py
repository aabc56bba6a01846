import os
import sys
from pathlib import Path

import pytest

from gancolor.colorize.inputs import ColorizeJob, find_jobs, renamed
from gancolor.utils.errors import InputError, shown


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")


def pairs(*inputs: str, **how: object) -> dict[str, str]:
    return {str(job.source): str(job.target) for job in find_jobs(inputs, **how).jobs}  # type: ignore[arg-type]


def test_a_folders_tree_is_kept() -> None:
    touch("in/b.jpg", "in/a.png", "in/x/y/c.TIF", "in/clip.mp4", "in/notes.txt", "in/a.jpg.part")
    touch("in/raw.CR2", "in/x/raw.cr2")
    found = find_jobs(["in"], "out")
    assert [str(job.target) for job in found.jobs] == ["out/a.png", "out/b.jpg", "out/clip.mp4", "out/x/y/c.TIF"]
    assert [job.is_video for job in found.jobs] == [False, False, True, False]
    assert str(found.ignored) == "2 .cr2, 1 .part"
    assert not found.problems


def test_files_go_right_into_the_folder() -> None:
    touch("in/x/a.jpg", "b.jpg")
    assert pairs("in/x/a.jpg", "b.jpg", out="out") == {"in/x/a.jpg": "out/a.jpg", "b.jpg": "out/b.jpg"}
    assert pairs("b.jpg") == {"b.jpg": "colorized/b.jpg"}


def test_one_file_can_be_named() -> None:
    touch("a.jpg", "clip.avi", "b.jpg")
    assert pairs("a.jpg", out="other.png") == {"a.jpg": "other.png"}
    assert pairs("clip.avi", out="x/clip.mp4") == {"clip.avi": "x/clip.mp4"}
    assert pairs("a.jpg", out="results.v2") == {"a.jpg": "results.v2/a.jpg"}
    assert pairs("a.jpg", out="folder.png/") == {"a.jpg": "folder.png/a.jpg"}
    Path("there.png").mkdir()
    assert pairs("a.jpg", out="there.png") == {"a.jpg": "there.png/a.jpg"}
    for inputs, out, words in (
        (["a.jpg", "b.jpg"], "o.png", "more than one file"),
        (["."], "o.png", "more than one file"),
        (["a.jpg"], "o.bmp", "no format '.bmp'"),
        (["a.jpg"], "o.mp4", "no format '.mp4'"),
        (["clip.avi"], "o.jpg", "clip.avi is a video"),
        (["clip.avi"], "o.avi", "clip.avi is a video"),
        (["a.jpg"], "b.jpg/", "a file is there"),
    ):
        with pytest.raises(InputError, match=words):
            find_jobs(inputs, out)
    with pytest.raises(InputError, match="--format jpg"):
        find_jobs(["a.jpg"], "o.png", "jpg")
    with pytest.raises(InputError, match=r"^b: no such file"):  # a name with a space, without quotes
        find_jobs(["a.jpg", "b", "c.jpg"], "o.png")
    for word, said in (
        ("-", "-: standard input is not read; give a file"), ("c.jpg", "c.jpg: no such file or folder"),
        ("a" * 300, f"{'a' * 300}: no such file or folder"),
    ):  # fmt: skip
        assert [str(problem) for problem in find_jobs([word], "o.png").problems] == [said]


def test_patterns() -> None:
    touch("in/a.jpg", "in/x/b.jpg", "in/x/y/c.jpg", "in/x/d.png", "in/x/.hidden.jpg", "photo[1].jpg", "photo1.jpg")
    assert pairs("in/*.jpg", out="o") == {"in/a.jpg": "o/a.jpg"}
    assert pairs("in/**/*.jpg", out="o") == {
        "in/a.jpg": "o/a.jpg", "in/x/b.jpg": "o/x/b.jpg", "in/x/y/c.jpg": "o/x/y/c.jpg"
    }  # fmt: skip
    assert set(pairs("in/**", out="o").values()) == {"o/a.jpg", "o/x/b.jpg", "o/x/y/c.jpg", "o/x/d.png"}
    assert pairs("in/*", out="o") == pairs("in", out="o")
    assert pairs(str(Path.cwd() / "in/?.jpg"), out="o").keys() == {str(Path.cwd() / "in/a.jpg")}
    assert pairs("photo[1].jpg", out="o") == {"photo[1].jpg": "o/photo[1].jpg"}  # a name before it is a pattern
    touch("scans [2]/a.jpg", "scans [2]/x/b.jpg")
    assert pairs("scans [2]/*.jpg", out="o") == {"scans [2]/a.jpg": "o/a.jpg"}
    assert pairs("scans [2]/x/?.jpg", out="o") == {"scans [2]/x/b.jpg": "o/b.jpg"}
    assert [str(problem) for problem in find_jobs(["in/*.gif", "nope.jpg"], "o").problems] == [
        "in/*.gif: nothing matches", "nope.jpg: no such file or folder"
    ]  # fmt: skip
    if sys.version_info < (3, 13):  # from then on, it means "in/*x"
        with pytest.raises(InputError, match=r"in/\*\*x"):
            find_jobs(["in/**x"], "o")


def test_hidden_files_are_left_out_unless_named() -> None:
    touch("in/.a.jpg", "in/.thumbnails/b.jpg", "in/c.jpg", ".config/d.jpg")
    assert pairs("in", out="o") == {"in/c.jpg": "o/c.jpg"}
    assert pairs("in/.a.jpg", ".config", out="o") == {"in/.a.jpg": "o/.a.jpg", ".config/d.jpg": "o/d.jpg"}


def test_the_output_is_no_input() -> None:
    touch("in/a.jpg", "in/out/a.jpg", "in/x/out/b.jpg", "colorized/a.jpg", "a.jpg")
    assert pairs("in", out="in/out") == {"in/a.jpg": "in/out/a.jpg", "in/x/out/b.jpg": "in/out/x/out/b.jpg"}
    assert pairs("in/**/*.jpg", out="in/out").keys() == {"in/a.jpg", "in/x/out/b.jpg"}
    assert pairs(".").keys() == {"a.jpg", "in/a.jpg", "in/out/a.jpg", "in/x/out/b.jpg"}
    with pytest.warns(UserWarning, match="colorized: ignored among the inputs"):  # a shell's * names it, too
        assert pairs("a.jpg", "colorized", "in/x").keys() == {"a.jpg", "in/x/out/b.jpg"}
    for pattern, out in (("*.jpg", "."), ("colorized/*.jpg", None)):
        with pytest.raises(InputError, match=r"a.jpg would take the place of an input"):
            find_jobs([pattern], out)


@pytest.mark.parametrize(
    ("name", "suffix", "result"),
    [
        ("a.jpg", None, "a.jpg"),
        ("a.JPEG", None, "a.JPEG"),
        ("a.tiff", None, "a.tiff"),
        ("a.gif", None, "a.png"),
        ("a.bmp", None, "a.png"),
        ("a.ppm", None, "a.png"),
        ("a.jfif", None, "a.jpg"),
        ("scan.2021", None, "scan.2021.png"),
        ("scan", None, "scan.png"),
        ("a.JPEG", ".jpg", "a.JPEG"),
        ("a.tif", ".jpg", "a.jpg"),
        ("a.b.tif", ".avif", "a.b.avif"),
        ("a.mov", ".jpg", "a.mov"),
        ("a.avi", None, "a.mkv"),
    ],
)
def test_names_of_results(name: str, suffix: str | None, result: str) -> None:
    assert renamed(Path("x") / name, suffix) == Path("x") / result


def test_two_files_never_become_one() -> None:
    touch("a/x.jpg", "b/x.jpg", "a/x.png", "b/y.bmp", "b/y.jp2", "b/y.tga")
    for inputs, suffix, clashing, coloured in (
        (["a/x.jpg", "b/x.jpg"], None, ["a/x.jpg", "b/x.jpg"], []),
        (["a"], "jpg", ["a/x.jpg", "a/x.png"], []),
        (["a", "b"], None, ["a/x.jpg", "b/x.jpg", "b/y.bmp", "b/y.jp2", "b/y.tga"], ["a/x.png"]),
    ):
        found = find_jobs(inputs, "o", suffix)
        assert sorted(problem.name for problem in found.problems) == clashing
        assert [str(job.source) for job in found.jobs] == coloured
    first, *_, last = map(str, found.problems)
    assert first == "a/x.jpg: would become o/x.jpg, and so would b/x.jpg; colour each with an -o of its own"
    assert "would become o/y.png, and so would b/y.bmp and 1 other file;" in last
    assert pairs("a", "a/x.jpg", "./a/x.jpg", out="o") == {"a/x.jpg": "o/x.jpg", "a/x.png": "o/x.png"}  # the same file


def test_an_input_is_never_replaced() -> None:
    touch("in/a.jpg", "in/b.jpg", "elsewhere/kept")
    Path("link").symlink_to("in")
    Path("hard").mkdir()
    os.link("in/a.jpg", "hard/a.jpg")
    Path("soft").mkdir()
    Path("soft/a.jpg").symlink_to(Path("in/b.jpg").absolute())  # a's result would replace what b is by
    for inputs, out in ((["in"], "in"), (["in"], "link"), (["in"], "in/../in"), (["in/a.jpg"], "in/a.jpg"),
                        (["in"], "hard"), (["in"], "soft"), (["in/a.jpg"], ".//in")):  # fmt: skip
        with pytest.raises(InputError, match="would take the place of an input"):
            find_jobs(inputs, out)


def test_in_place() -> None:
    touch("in/a.jpg", "in/b.gif", "in/c.mp4", "elsewhere/d.jpg")
    Path("link.jpg").symlink_to("in/a.jpg")
    Path("in/d.jpg").symlink_to("../elsewhere/d.jpg")
    found = find_jobs(["in", "link.jpg"], in_place=True)
    assert {job.target for job in found.jobs} == {Path.cwd() / "in/a.jpg", Path.cwd() / "in/c.mp4"}
    assert [str(problem) for problem in found.problems] == [
        "in/b.gif: .gif can't be written; colour it without --in_place",
        "in/d.jpg: a link; to replace the file that it leads to, name that",
    ]
    for how in ({"out": "x"}, {"picture_format": "png"}):
        with pytest.raises(InputError, match="--in_place keeps"):
            find_jobs(["in"], in_place=True, **how)  # type: ignore[arg-type]


def test_links_to_folders_do_not_go_round() -> None:
    touch("in/a.jpg", "in/x/b.jpg", "elsewhere/c.jpg")
    for place in ("in/loop", "in/x/loop"):
        Path(place).symlink_to(Path("in").absolute())
    Path("in/out").symlink_to(Path("elsewhere").absolute())
    Path("in/d.jpg").symlink_to(Path("elsewhere/c.jpg").absolute())
    expected = {"in/a.jpg", "in/d.jpg", "in/x/b.jpg"}
    assert pairs("in", out="o").keys() == expected
    assert pairs("in/**/*.jpg", out="o").keys() == expected


def test_nothing_is_written_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("around/here").mkdir(parents=True)  # patterns that lead up find this test's files alone
    monkeypatch.chdir("around/here")
    touch("a/x.jpg", "a/b/y.jpg", "z.jpg")
    for inputs in (["a/../z.jpg"], ["a/b/../../z.jpg"], ["a/*/../../z.jpg"], ["a/*/../../../*/z.jpg"], ["../*/z.jpg"],
                   [str(Path.cwd() / "z.jpg")], ["a/b/.."], ["a/../a"], ["a/*/.."]):  # fmt: skip
        targets = [job.target for job in find_jobs(inputs, "o").jobs]
        assert targets
        for target in targets:
            assert ".." not in target.parts
            assert Path(os.path.normpath(target)).parts[0] == "o"
    Path("o").mkdir()
    Path("o/b").symlink_to(Path("a").absolute())
    with pytest.raises(InputError, match="o/b leads out of o"):
        find_jobs(["a"], "o")


def test_odd_names() -> None:
    names = [
        "-dash.jpg",
        "new\nline.jpg",
        "tab\t.jpg",
        "日本.jpg",
        "e\u0301.jpg",
        " space .jpg",
        "a[b].jpg",
        "$x;'\".jpg",
    ]
    touch(*(f"in/{name}" for name in names))
    assert {job.target.name for job in find_jobs(["in"], "o").jobs} == set(names)
    assert find_jobs(["in/new\nline.jpg"], "o").jobs == [ColorizeJob(Path("in/new\nline.jpg"), Path("o/new\nline.jpg"))]
    assert shown("new\nline \udcff 日本") == r"new\nline \udcff 日本"


def test_what_is_nothing_to_colour() -> None:
    touch("x.jpg")
    Path("empty").mkdir()
    Path("gone.jpg").symlink_to("nowhere")
    os.mkfifo("pipe.jpg")
    found = find_jobs(["x.jpg", "empty", "gone.jpg", "pipe.jpg"], "o")
    assert len(found.jobs) == 1
    assert [str(problem) for problem in found.problems] == [
        "empty: no photographs or videos in this folder", "gone.jpg: a link to nothing", "pipe.jpg: no file"
    ]  # fmt: skip
    with pytest.raises(InputError, match="empty name"):
        find_jobs([""], "o")
