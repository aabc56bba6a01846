"""Generators on the Hugging Face Hub: a repository holds generator.safetensors, generator.onnx, a card, and other
formats on request."""

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from gancolor.inference.hub import GENERATOR, LOGIN, hub_package, one_line_errors
from gancolor.utils.errors import InputError
from gancolor.utils.files import write_atomically


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
        formats: keys of `formats.EXPORTERS`: files to add to generator.safetensors, which the card describes.
            generator.onnx is always added if possible; if not, a line on stderr says why.
        half: store kernels and matrices as float16.
        results: files from evaluate.py --json, for the card.
        license_id: licence of the weights; None: not stated.

    Returns:
        The repository's URL.

    Raises:
        InputError: no such checkpoint, no login, no network, or a repository that the token can't write to.
    """
    from gancolor.export.card import model_card
    from gancolor.export.exporter import Exported, export
    from gancolor.export.formats import EXPORTERS, choose_format
    from gancolor.export.scores import load_scores
    from gancolor.models.checkpoint import find_generator

    hub = hub_package()
    files = {name: Path(GENERATOR + EXPORTERS[name].suffixes[0]) for name in ("safetensors", *formats, "onnx")}
    asked = [choose_format(files[name], name) for name in dict.fromkeys(("safetensors", *formats))]
    checkpoint = find_generator(source)
    scores = load_scores(results, checkpoint)
    token = token or hub.get_token()
    if token is None:
        raise InputError(f"--push_to_hub {repo_id}: not logged in to the Hub: {LOGIN}")
    api = hub.HfApi(token=token)
    with TemporaryDirectory() as folder, one_line_errors(repo_id):
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
                    f"gancolor: warning: {repo_id} gets no {files['onnx']}, so using it needs PyTorch: {error}",
                    file=sys.stderr,
                    flush=True,
                )
        write_atomically(Path(folder) / "README.md", lambda beside: beside.write_text(card, encoding="utf-8"))
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="gancolor export")
    return f"{api.endpoint}/{repo_id}"
