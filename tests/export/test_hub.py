"""Upload to and download from the Hugging Face Hub, and one-line errors."""

import dataclasses
import time

import pytest
import torch
from fake_hub import point_to

from gancolor import cli
from gancolor.export import formats
from gancolor.export.hub import push_to_hub
from gancolor.inference import hub as hub_module
from gancolor.inference.hub import download_from_hub
from gancolor.models.checkpoint import describe, load_generator
from gancolor.utils.errors import InputError

REPO = "someone/colours"
pytestmark = pytest.mark.usefixtures("converted_once")


def one_line(refusal, match=""):
    text = str(refusal.value)
    assert "\n" not in text and match in text, text


def test_pushed_generator_can_be_loaded(checkpoint, hub):
    path, generator = checkpoint
    address = push_to_hub(path, REPO, license_id="cc-by-4.0")
    assert address.endswith(REPO) and hub.commits == 1 and REPO not in hub.private
    assert sorted(hub.files[REPO]) == ["README.md", "generator.onnx", "generator.safetensors"]
    card = hub.files[REPO]["README.md"].decode()
    assert f'from_pretrained("{REPO}")' in card and "license: cc-by-4.0" in card
    downloaded = download_from_hub(REPO)
    assert downloaded.name == "generator.safetensors" and describe(downloaded)["generator"]["arch"] == "attention_ugan"
    picture = torch.rand(1, 1, 40, 50)
    with torch.no_grad():
        assert torch.allclose(load_generator(downloaded)(picture).chroma, generator(picture).chroma, atol=1e-6)


def test_revision_is_followed(checkpoint, hub):
    push_to_hub(checkpoint[0], REPO)
    assert download_from_hub(REPO, revision=hub.COMMIT) == download_from_hub(REPO)
    with pytest.raises(InputError) as refusal:
        download_from_hub(REPO, revision="v9")
    one_line(refusal, "no revision v9")


def test_command_pushes_a_private_repository_at_half_size(checkpoint, hub, capsys):
    assert cli._gancolor(["export", str(checkpoint[0]), "--push_to_hub", REPO, "--private", "--half"]) == 0
    assert REPO in hub.private and "pushed to http" in capsys.readouterr().out
    assert len(hub.files[REPO]["generator.safetensors"]) < 0.6 * checkpoint[0].stat().st_size
    assert download_from_hub(REPO).is_file()


def test_format_of_the_file_is_pushed_too(checkpoint, hub, tmp_path):
    words = ["export", str(checkpoint[0]), "-o", str(tmp_path / "a.PT2"), "--push_to_hub", REPO]
    assert cli._gancolor(words) == 0
    assert sorted(hub.files[REPO]) == ["README.md", "generator.onnx", "generator.pt2", "generator.safetensors"]


@pytest.mark.parametrize("reason", ["onnxscript is not installed", "the format can't hold it"])
def test_without_onnx_the_rest_is_pushed_with_a_warning(checkpoint, hub, monkeypatch, capsys, reason):
    def refuse(generator, half):
        raise RuntimeError(reason)

    if "installed" in reason:
        monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    else:
        broken = dataclasses.replace(formats.EXPORTERS["onnx"], convert=refuse)
        monkeypatch.setitem(formats.EXPORTERS, "onnx", broken)
    push_to_hub(checkpoint[0], REPO)
    assert sorted(hub.files[REPO]) == ["README.md", "generator.safetensors"]
    told = capsys.readouterr().err
    assert told.startswith(f"gancolor: warning: {REPO} gets no generator.onnx") and told.count("\n") == 1
    assert ("pip install 'gancolor[export]'" if "installed" in reason else reason) in told
    with pytest.raises(InputError):
        push_to_hub(checkpoint[0], REPO, formats=["onnx"])


def test_private_repository_of_others_is_not_found(checkpoint, hub, monkeypatch):
    push_to_hub(checkpoint[0], REPO, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(InputError) as refusal:
        download_from_hub(REPO)
    one_line(refusal, "and no such repository on the Hub (if it is private: run `hf auth login`")


def test_without_torch_the_onnx_file_is_used(hub, monkeypatch):
    hub.files[REPO] = {"generator.onnx": b"onnx", "generator.safetensors": b"torch"}
    monkeypatch.setattr(hub_module, "has_torch", lambda: False)
    assert download_from_hub(REPO).read_bytes() == b"onnx"


def test_without_torch_and_onnx_the_error_gives_advice(hub, monkeypatch):
    monkeypatch.setattr(hub_module, "has_torch", lambda: False)
    uploads = f"its owner can upload one with gancolor export RUN --push_to_hub {REPO} --format onnx"
    for files, advice in (
        (
            {"generator.safetensors": b""},
            f"pip install 'gancolor[train]' to use its generator.safetensors, or {uploads}",
        ),
        ({"model.bin": b""}, uploads),
    ):
        hub.files[REPO] = files
        with pytest.raises(InputError) as refusal:
            download_from_hub(REPO)
        one_line(refusal, f"has no generator.onnx: {advice}")


def test_missing_repository_or_generator_gives_a_one_line_error(hub):
    with pytest.raises(InputError) as refusal:
        download_from_hub("nobody/nothing")
    one_line(refusal, "nobody/nothing: no such file or folder here, and no such repository")
    hub.files[REPO] = {"model.bin": b""}
    with pytest.raises(InputError) as refusal:
        download_from_hub(REPO)
    one_line(
        refusal, f"has no generator.safetensors: its owner can upload one with gancolor export RUN --push_to_hub {REPO}"
    )


@pytest.mark.parametrize("name", ["a/b/c", "../up", "some name/x", ""])
def test_invalid_repository_name_gives_a_one_line_error(checkpoint, hub, name):
    for act in (download_from_hub, lambda name: push_to_hub(checkpoint[0], name)):
        with pytest.raises(InputError) as refusal:
            act(name)
        one_line(refusal, "OWNER/NAME")


def test_wrong_token_gives_a_one_line_error_and_uploads_nothing(checkpoint, hub):
    with pytest.raises(InputError) as refusal:
        push_to_hub(checkpoint[0], REPO, token="hf_wrong")
    one_line(refusal, "(401): run `hf auth login`")
    assert hub.files == {}


def test_missing_login_gives_a_one_line_error_before_any_work(checkpoint, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InputError) as refusal:
        push_to_hub(checkpoint[0], REPO)
    one_line(refusal, "not logged in to the Hub: run `hf auth login`, or set HF_TOKEN")


def test_offline_gives_a_one_line_error_and_cached_files_work(checkpoint, hub, monkeypatch, nowhere, tmp_path):
    pytest.importorskip("huggingface_hub")
    push_to_hub(checkpoint[0], REPO)
    before = download_from_hub(REPO)
    point_to(monkeypatch, nowhere, tmp_path / "hub")
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits, to try again"))
    assert download_from_hub(REPO) == before
    with pytest.raises(InputError) as refusal:
        download_from_hub("someone/else")
    one_line(refusal, "or in the Hub's cache, and the Hugging Face Hub can't be reached")
    with pytest.raises(InputError) as refusal:
        push_to_hub(checkpoint[0], REPO, token="hf_x")
    one_line(refusal, "can't be reached")


@pytest.mark.parametrize("status", [429, 503])
def test_cached_files_work_while_the_hub_is_overloaded(hub, monkeypatch, status):
    hub.files[REPO] = {"generator.safetensors": b"weights"}
    before = download_from_hub(REPO)
    monkeypatch.setattr(hub, "get", lambda *_: (status, {}, b""))
    assert download_from_hub(REPO) == before
    with pytest.raises(InputError) as refusal:
        download_from_hub("someone/else")
    one_line(refusal, f"someone/else: the Hub answers {status}; try again later")


def test_a_connection_that_breaks_before_the_download_is_told(hub, monkeypatch):
    hub.files[REPO] = {"generator.safetensors": b"weights"}
    answer = hub.get
    monkeypatch.setattr(hub, "get", lambda path, token: answer(path, token) if "/api/" in path else (503, {}, b""))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(InputError) as refusal:
        download_from_hub(REPO)
    one_line(refusal, f"{REPO}: the Hugging Face Hub can't be reached")


def test_missing_package_gives_a_one_line_error(checkpoint, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    for act in (lambda: download_from_hub(REPO), lambda: push_to_hub(checkpoint[0], REPO)):
        with pytest.raises(InputError) as refusal:
            act()
        one_line(refusal, "pip install 'gancolor[hub]'")
