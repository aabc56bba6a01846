import os
import pickle
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gancolor.utils.errors import InputError
from gancolor.utils.weights import cached_path, file_digest, load_file, load_published

OPTION = "--generator.backbone_weights FILE"


@pytest.fixture
def tensors():
    return {"conv.weight": torch.randn(4, 3), "conv.bias": torch.randn(4)}


@pytest.fixture
def published(tmp_path, tensors):
    """A file whose name ends with the start of its sha256, as torchvision's do."""
    folder = tmp_path / "server"
    folder.mkdir()
    torch.save(tensors, folder / "net.pth")
    digest = sha256((folder / "net.pth").read_bytes()).hexdigest()
    return (folder / "net.pth").rename(folder / f"net-{digest[:8]}.pth")


def put_into_cache(path: Path, contents: bytes) -> Path:
    cached = cached_path(f"http://127.0.0.1:9/{path.name}")
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_bytes(contents)
    return cached


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


class Bomb:
    """Object whose unpickling creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_cache_is_torchvisions(home):
    assert cached_path("https://download.pytorch.org/models/resnet18-f37072fd.pth") == (
        home / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    )


def test_cached_weights_need_no_network(published, tensors, nowhere):
    put_into_cache(published, published.read_bytes())
    for download in (True, False):
        assert_same(load_published(f"{nowhere}/{published.name}", OPTION, download), tensors)


def test_weights_are_downloaded_once_and_with_progress(published, tensors, serve, capfd):
    url = f"{serve(published.parent)}/{published.name}"
    assert_same(load_published(url, OPTION), tensors)
    assert "100%" in capfd.readouterr().err
    assert cached_path(url).read_bytes() == published.read_bytes()
    published.unlink()
    assert_same(load_published(url, OPTION), tensors)


def test_nothing_is_downloaded_in_cache_only_mode(published, serve):
    url = f"{serve(published.parent)}/{published.name}"
    with pytest.raises(InputError) as refusal:
        load_published(url, OPTION, download=False)
    assert not cached_path(url).exists()
    for part in (published.name, str(cached_path(url).parent), OPTION):
        assert part in str(refusal.value)


@pytest.mark.parametrize("damage", ["truncated", "changed", "another"])
def test_cached_weights_of_other_contents_are_refused(published, damage, nowhere):
    """torch itself accepts a cached file with any contents."""
    contents = published.read_bytes()
    torch.save({"conv.weight": torch.zeros(4, 3)}, published)
    contents = {
        "truncated": contents[: len(contents) // 2],
        "changed": contents[:-100] + bytes([contents[-100] ^ 1]) + contents[-99:],
        "another": published.read_bytes(),
    }[damage]
    cached = put_into_cache(published, contents)
    with pytest.raises(InputError) as refusal:
        load_published(f"{nowhere}/{published.name}", OPTION)
    for part in (str(cached), "sha256", "delete it", OPTION):
        assert part in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_downloaded_weights_of_other_contents_are_refused(published, serve):
    published.write_bytes(published.read_bytes()[:-7])
    with pytest.raises(InputError, match=r"can.t be downloaded \(invalid hash value"):
        load_published(f"{serve(published.parent)}/{published.name}", OPTION)


def test_offline_gives_a_one_line_error_with_advice(published, nowhere):
    with pytest.raises(InputError) as refusal:
        load_published(f"{nowhere}/{published.name}", OPTION)
    for part in (published.name, str(cached_path(published.name).parent), "refused", OPTION):
        assert part in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not cached_path(published.name).exists()


def test_missing_file_on_the_server_gives_a_one_line_error(published, serve):
    with pytest.raises(InputError, match="ound"):
        load_published(f"{serve(published.parent)}/other-01234567.pth", OPTION)
    assert not cached_path("other-01234567.pth").exists()


def test_file_name_without_hash_is_not_checked(tmp_path, tensors, serve):
    torch.save(tensors, tmp_path / "plain.pth")
    assert_same(load_published(f"{serve(tmp_path)}/plain.pth", OPTION), tensors)


def test_weights_with_code_are_refused_and_not_run(tmp_path):
    made = tmp_path / "made by the pickle"
    for name, save in (("plain.pth", pickle.dumps), ("zip.pth", None)):
        path = tmp_path / name
        if save:
            path.write_bytes(save({"conv.weight": Bomb(made)}))
        else:
            torch.save({"conv.weight": Bomb(made)}, path)
        with pytest.raises(InputError, match="code"):
            load_file(path)
        assert not made.exists()


def test_published_weights_with_code_are_refused_and_not_run(tmp_path, nowhere):
    made = tmp_path / "made by the pickle"
    contents = pickle.dumps({"conv.weight": Bomb(made)})
    name = f"net-{sha256(contents).hexdigest()[:8]}.pth"
    put_into_cache(Path(name), contents)
    with pytest.raises(InputError, match="code"):
        load_published(f"{nowhere}/{name}", OPTION)
    assert not made.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_local_file_of_either_format(tmp_path, tensors, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    assert_same(load_file(path), tensors)


def test_state_dict_within_a_checkpoint_is_found(tmp_path, tensors):
    torch.save({"epoch": 3, "state_dict": tensors}, tmp_path / "checkpoint.pth")
    assert_same(load_file(tmp_path / "checkpoint.pth"), tensors)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("contents", [b"", b"weights", b"\x80\x04.", b"\xff" * 64, b"PK\x03\x04" + b"\0" * 40])
@pytest.mark.filterwarnings("error")
def test_foreign_file_is_refused(tmp_path, suffix, contents):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(contents)
    with pytest.raises(InputError) as refusal:
        load_file(path)
    assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.99])
def test_truncated_file_is_refused(tmp_path, tensors, suffix, share):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    contents = path.read_bytes()
    path.write_bytes(contents[: int(len(contents) * share)])
    with pytest.raises(InputError, match="truncated"):
        load_file(path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(3), "text"])
def test_file_without_a_dictionary_of_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(InputError, match="no dictionary of tensors"):
        load_file(tmp_path / "other.pth")


def test_missing_file_and_folder_are_refused(tmp_path):
    for path in (tmp_path / "nothing.pth", tmp_path):
        with pytest.raises(InputError, match="no such file of weights"):
            load_file(path)


def test_file_digest_is_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert file_digest(tmp_path / "file") == sha256(b"abc" * 100_000).hexdigest()
