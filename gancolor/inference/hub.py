"""Download of generators from the Hugging Face Hub, and its errors in one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gancolor.inference.backends import TRAINING, has_torch
from gancolor.utils.errors import InputError

GENERATOR = "generator"  # the files' name, without suffix
UNREACHABLE = "the Hugging Face Hub can't be reached"
LOGIN = "run `hf auth login`, or set HF_TOKEN"


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
    hub = hub_package()
    file = f"{GENERATOR}.safetensors" if has_torch() else f"{GENERATOR}.onnx"
    try:
        # Query first: a download tries for half a minute to reach a Hub that does not answer.
        found = hub.HfApi(token=token).model_info(repo_id, revision=revision, timeout=10)
    except (OSError, hub.errors.HTTPError) as error:
        refused = isinstance(error, hub.errors.HfHubHTTPError)
        if refused and not _is_overloaded(error):
            raise InputError(_reason(repo_id, error, revision)) from None
        cached = hub.try_to_load_from_cache(repo_id, file, revision=revision)
        if not isinstance(cached, str):
            absent = f"{repo_id}: no such file or folder here or in the Hub's cache, and {UNREACHABLE}"
            raise InputError(_reason(repo_id, error, revision) if refused else absent) from None
        return Path(cached)
    except ValueError:
        raise InputError(_invalid(repo_id)) from None
    try:
        with one_line_errors(repo_id, revision):
            return Path(hub.hf_hub_download(repo_id, file, revision=revision, token=token))
    except hub.errors.EntryNotFoundError:
        advice = f"its owner can upload one with gancolor export RUN --push_to_hub {repo_id}"
        if not has_torch():
            advice += " --format onnx"
            if any(sibling.rfilename == f"{GENERATOR}.safetensors" for sibling in found.siblings or ()):
                advice = f"{TRAINING} to use its {GENERATOR}.safetensors, or {advice}"
        raise InputError(f"{repo_id} on the Hub has no {file}: {advice}") from None


def hub_package() -> Any:
    """Import huggingface_hub, without telemetry.

    Raises:
        InputError: it is not installed.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise InputError("the Hugging Face Hub needs huggingface_hub: pip install 'gancolor[hub]'") from None
    return huggingface_hub


@contextmanager
def one_line_errors(repo_id: str, revision: str | None = None) -> Iterator[None]:
    """Turn the Hub's errors into InputErrors that say what to do. EntryNotFoundError is left to the caller."""
    errors = hub_package().errors
    try:
        yield
    except errors.LocalEntryNotFoundError:  # an EntryNotFoundError, though the Hub was not reached
        raise InputError(f"{repo_id}: {UNREACHABLE}") from None
    except (InputError, errors.EntryNotFoundError):
        raise
    except errors.HFValidationError:
        raise InputError(_invalid(repo_id)) from None
    except errors.HfHubHTTPError as error:
        raise InputError(_reason(repo_id, error, revision)) from None
    except (errors.HTTPError, errors.OfflineModeIsEnabled):
        raise InputError(f"{repo_id}: {UNREACHABLE}") from None


def _is_overloaded(error: Any) -> bool:
    """Return whether the Hub only refuses for now: too many requests, or a fault of its own."""
    return error.response is not None and (error.response.status_code == 429 or error.response.status_code >= 500)


def _reason(repo_id: str, error: Any, revision: str | None) -> str:
    name = type(error).__name__
    status = error.response.status_code if error.response is not None else "no answer"
    if name == "RevisionNotFoundError":
        return f"{repo_id} on the Hub has no revision {revision}"
    if name == "GatedRepoError":
        return f"{repo_id} on the Hub requires that you accept its conditions first, on its page"
    if name == "RepositoryNotFoundError":
        return f"{repo_id}: no such file or folder here, and no such repository on the Hub (if it is private: {LOGIN})"
    if status in (401, 403):
        return f"{repo_id}: the Hub does not let this account do that ({status}): {LOGIN}, with a token that may write"
    return f"{repo_id}: the Hub answers {status}; try again later"


def _invalid(repo_id: str) -> str:
    return f"{repo_id} is not the name of a repository on the Hub: write OWNER/NAME"
