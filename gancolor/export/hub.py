"""Generators on the Hugging Face Hub: a repository holds generator.safetensors, generator.onnx, a card, and other
formats on request."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gancolor.errors import InputError
from gancolor.files import write_atomically
from gancolor.runtimes import TRAINING, has_torch

GENERATOR = "generator"  # the files' name, without suffix
UNREACHABLE = "the Hugging Face Hub can't be reached"
LOGIN = "run `hf auth login`, or set HF_TOKEN"


def push_to_hub(
    source: str | Path, repo_id: str, *, token: str | None = None, private: bool = False,
    formats: Sequence[str] = (), half: bool = False, results: Sequence[Path] = (),
    license_id: str | None = None,
) -> str:  # fmt: skip
    """Upload a generator with its card, in one commit.

    Args:
        source: a run's folder, or a checkpoint.
        repo_id: OWNER/NAME; created if it does not exist.
        token: None: that of `hf auth login`, or HF_TOKEN.
        private: if the repository is created, make it private.
        formats: keys of `formats.FORMATS`: files to add to generator.safetensors, which the card describes.
            generator.onnx is always added if possible; if not, a line on stderr says why.
        half: store kernels and matrices as float16.
        results: files from evaluate.py --json, for the card.
        license_id: licence of the weights; None: not stated.

    Returns:
        The repository's URL.

    Raises:
        InputError: no such checkpoint, no login, no network, or a repository that the token can't write to.
    """
    from gancolor.checkpoint import find_generator
    from gancolor.export.card import load_scores, model_card
    from gancolor.export.exporter import Exported, export
    from gancolor.export.formats import FORMATS, choose_format

    hub = _hub()
    files = {name: Path(GENERATOR + FORMATS[name].suffixes[0]) for name in ("safetensors", *formats, "onnx")}
    asked = [choose_format(files[name], name) for name in dict.fromkeys(("safetensors", *formats))]
    checkpoint = find_generator(source)
    scores = load_scores(results, checkpoint)
    token = token or hub.get_token()
    if token is None:
        raise InputError(f"--push_to_hub {repo_id}: not logged in to the Hub: {LOGIN}")
    api = hub.HfApi(token=token)
    with TemporaryDirectory() as folder, _one_line(repo_id):
        api.create_repo(repo_id, private=private, exist_ok=True)  # first, so that a failure wastes no work

        def write(name: str) -> Exported:
            return export(checkpoint, Path(folder) / files[name], name, half)

        written = [write(name) for name in asked]
        card = model_card(written[0], repo_id, scores, license_id)
        if "onnx" not in asked:
            try:
                write(choose_format(files["onnx"], "onnx"))
            except InputError as error:
                print(
                    f"gancolor: warning: {repo_id} gets no {files['onnx']}, so that it needs PyTorch: {error}",
                    file=sys.stderr,
                    flush=True,
                )
        write_atomically(Path(folder) / "README.md", lambda beside: beside.write_text(card, encoding="utf-8"))
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="gancolor export")
    return f"{api.endpoint}/{repo_id}"


def download_from_hub(repo_id: str, revision: str | None = None, *, token: str | None = None) -> Path:
    """Download a repository's generator to the Hub's cache, and return its path: generator.safetensors, or
    generator.onnx if PyTorch is not installed. Offline, return the cached file.

    Args:
        repo_id: OWNER/NAME.
        revision: a branch, tag or commit; None: main.
        token: for a private repository; None: that of `hf auth login`, or HF_TOKEN, if any.

    Raises:
        InputError: no such repository, revision or generator, or no network and nothing in the cache.
    """
    hub = _hub()
    file = f"{GENERATOR}.safetensors" if has_torch() else f"{GENERATOR}.onnx"
    try:
        # Query first: a download tries for half a minute to reach a Hub that does not answer.
        found = hub.HfApi(token=token).model_info(repo_id, revision=revision, timeout=10)
    except hub.errors.HfHubHTTPError as error:
        raise InputError(_reason(repo_id, error, revision)) from None
    except (OSError, hub.errors.HTTPError):
        cached = hub.try_to_load_from_cache(repo_id, file, revision=revision)
        if not isinstance(cached, str):
            raise InputError(
                f"{repo_id}: there is no such file or folder here, nor in the Hub's cache, and {UNREACHABLE}"
            ) from None
        return Path(cached)
    except ValueError:
        raise InputError(_invalid(repo_id)) from None
    try:
        with _one_line(repo_id, revision):
            return Path(hub.hf_hub_download(repo_id, file, revision=revision, token=token))
    except hub.errors.EntryNotFoundError:
        advice = f"its owner uploads one by gancolor export RUN --push_to_hub {repo_id}"
        if not has_torch():
            advice += " --format onnx"
            if any(sibling.rfilename == f"{GENERATOR}.safetensors" for sibling in found.siblings or ()):
                advice = f"{TRAINING} to use its {GENERATOR}.safetensors, or {advice}"
        raise InputError(f"{repo_id} on the Hub has no {file}: {advice}") from None


def _hub() -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise InputError("the Hugging Face Hub needs huggingface_hub: pip install 'gancolor[hub]'") from None
    return huggingface_hub


@contextmanager
def _one_line(repo_id: str, revision: str | None = None) -> Iterator[None]:
    errors = _hub().errors
    try:
        yield
    except (InputError, errors.EntryNotFoundError):
        raise
    except errors.HFValidationError:
        raise InputError(_invalid(repo_id)) from None
    except errors.HfHubHTTPError as error:
        raise InputError(_reason(repo_id, error, revision)) from None
    except (errors.HTTPError, errors.OfflineModeIsEnabled):
        raise InputError(f"{repo_id}: {UNREACHABLE}") from None


def _reason(repo_id: str, error: Any, revision: str | None) -> str:
    name = type(error).__name__
    status = error.response.status_code if error.response is not None else "no answer"
    if name == "RevisionNotFoundError":
        return f"{repo_id} on the Hub has no revision {revision}"
    if name == "GatedRepoError":
        return f"{repo_id} on the Hub asks you to accept its conditions first, on its page"
    if name == "RepositoryNotFoundError":
        return f"{repo_id}: no such file or folder here, nor such a repository on the Hub (if it is private: {LOGIN})"
    if status in (401, 403):
        return f"{repo_id}: the Hub does not let this account do that ({status}): {LOGIN}, with a token that may write"
    return f"{repo_id}: the Hub answers {status}; try again later"


def _invalid(repo_id: str) -> str:
    return f"{repo_id} is no repository's name on the Hub: it is OWNER/NAME"
