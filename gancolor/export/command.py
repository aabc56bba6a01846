"""The command `gancolor export`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from gancolor.evaluation.tables import text_table
from gancolor.export.card import model_card
from gancolor.export.exporter import Exported, card_of, export
from gancolor.export.formats import choose_format
from gancolor.export.scores import load_scores
from gancolor.inference.bundled import named_checkpoint
from gancolor.models.checkpoint import describe, find_generator
from gancolor.models.interpolation import interpolate as interpolate_generators
from gancolor.utils.errors import InputError
from gancolor.utils.files import check_writable


def run_export(
    source: Path, out: Path | None, format_name: str | None, *, half: bool = False, overwrite: bool = False,
    results: Sequence[Path] = (), license_id: str | None = None, repository: str | None = None, private: bool = False,
    interpolate: Sequence[str] | None = None,
) -> int:  # fmt: skip
    """Write a generator and its model card to a file, to the Hub, or to both.

    Args:
        source: a run's folder, a checkpoint, or "bundled".
        results: files from evaluate.py --json, for the card.
        repository: OWNER/NAME on the Hub.
        interpolate: another checkpoint's path, and the share of the source in their interpolation, which is exported
            then.

    Raises:
        InputError: the source is missing, can't be exported, or can't be written to this destination.
    """
    if out is None and repository is None:
        raise InputError("nothing to write: give -o FILE, or --push_to_hub OWNER/NAME")
    if interpolate and results:
        raise InputError("--interpolate makes a generator that no --result has scored yet: export it without --result, "
                         "evaluate that file, and export that file with --result")  # fmt: skip
    original = find_generator(named_checkpoint(str(source)))
    describe(original)
    other, share = (find_generator(named_checkpoint(interpolate[0])), interpolate[1]) if interpolate else (None, "")
    with _exported_checkpoint(original, other, share) as checkpoint:
        scores = load_scores(results, checkpoint)
        if out is not None:
            format_name = choose_format(out, format_name)
            _check_free(out, [path for path in (original, other) if path], overwrite)
            name = out.name
            exported = export(
                checkpoint, out, format_name, half, lambda exported: model_card(exported, name, scores, license_id)
            )
            _say(exported)
            print(f"card {card_of(out)}")
        if repository is not None:
            from gancolor.export.hub import push_to_hub

            formats = (format_name,) if format_name else ()
            address = push_to_hub(
                checkpoint,
                repository,
                private=private,
                formats=formats,
                half=half,
                results=results,
                license_id=license_id,
            )
            print(f"pushed to {address}")
    return 0


@contextmanager
def _exported_checkpoint(original: Path, other: Path | None, share: str) -> Iterator[Path]:
    """Yield the checkpoint to export: the original, or a temporary one between it and another."""
    if other is None:
        yield original
        return
    try:
        number = float(share)
    except ValueError:
        raise InputError(f"--interpolate {other} {share}: the share must be a number from 0 to 1") from None
    with TemporaryDirectory() as folder:
        between = Path(folder) / "interpolated.safetensors"
        interpolate_generators(original, other, number, between)
        yield between


def _check_free(out: Path, sources: Sequence[Path], overwrite: bool) -> None:
    """Check that the file and its card can be written. Raises InputError if one exists and must not be overwritten."""
    for path in (out, card_of(out)):
        check_writable("-o", path)
    if out.exists() and any(out.samefile(source) for source in sources):
        raise InputError(f"-o {out} is the checkpoint itself; give another name")
    for path in (out, card_of(out)):
        if path.exists() and not overwrite:
            raise InputError(f"-o {out}: {path} exists already; give another name, or --overwrite")


def _say(exported: Exported) -> None:
    rows = [["batch x height x width", "largest difference [ab]"]]
    rows += [[str(difference), f"{difference.largest:.2g}"] for difference in exported.differences]
    print(f"wrote {exported.path}: {exported.format}, {exported.about['weights']}, {exported.size / 1e6:.1f} MB")
    print(f"\n{text_table(rows)}\n")
