"""Exported files whose output differs from the generator's are not written."""

import dataclasses
import errno

import pytest
import torch
from torch import nn

from gancolor.export import formats
from gancolor.export.exporter import export
from gancolor.export.parity import SIZES, TOLERANCES, Difference, check_parity, compare_outputs
from gancolor.models.output import GeneratorOutput
from gancolor.utils.errors import InputError


class Half(nn.Module):
    def forward(self, lightness):
        return GeneratorOutput(torch.cat([lightness, -lightness], dim=1) / 2)


def test_differences_are_in_ab_units_at_sizes_that_are_no_multiple_of_strides():
    assert [found.largest for found in compare_outputs(Half(), lambda x: Half()(x).chroma)] == [0] * len(SIZES)
    found = compare_outputs(Half(), lambda x: Half()(x).chroma + 0.01)
    assert [found.largest for found in found] == pytest.approx([1.1] * len(SIZES), rel=1e-4)
    assert [(d.batch, d.height, d.width) for d in found] == list(SIZES)
    assert any(height % 2 and width % 2 for _, height, width in SIZES) and any(batch > 1 for batch, _, _ in SIZES)


def test_generators_with_hints_are_compared_with_and_without_hints():
    class Hinted(Half):
        takes_hints = True

        def forward(self, lightness, hints):
            return GeneratorOutput(hints[:, :2] + 0 * lightness)

    given = []

    def exported(lightness, hints):
        given.append(hints)
        return hints[:, :2] * 0

    assert [found.largest for found in compare_outputs(Hinted(), exported)] == pytest.approx([0, 44, 44, 44])
    assert [hints.shape[-2:] for hints in given] == [size[1:] for size in SIZES]


def test_chroma_of_another_shape_is_refused():
    with pytest.raises(InputError, match="chroma is"):
        compare_outputs(Half(), lambda x: Half()(x).chroma[..., :-1])


@pytest.mark.parametrize("weights", TOLERANCES)
def test_only_differences_within_the_tolerance_pass(weights):
    check_parity([Difference(1, 64, 64, TOLERANCES[weights])], weights)
    for largest in (TOLERANCES[weights] * 1.01, float("nan"), float("inf")):
        with pytest.raises(InputError, match=r"at 2 x 75 x 131, where .* is allowed; nothing is written"):
            check_parity([Difference(1, 64, 64, 0.0), Difference(2, 75, 131, largest)], weights)


@pytest.mark.parametrize("largest", [0.02, float("nan")])
def test_file_that_differs_is_not_written(checkpoint, tmp_path, monkeypatch, largest):
    """The temporary file itself is checked, before it is renamed."""
    chosen = formats.EXPORTERS["safetensors"]
    seen = []

    def open_changed(path):
        seen.append((path.name, path.is_file(), (tmp_path / "g.safetensors").exists()))
        run = chosen.open(path)
        return lambda lightness: run(lightness) + largest / 110

    monkeypatch.setitem(formats.EXPORTERS, "safetensors", dataclasses.replace(chosen, open=open_changed))
    with pytest.raises(InputError, match="differs from the generator"):
        export(checkpoint[0], tmp_path / "g.safetensors", "safetensors")
    assert seen == [(".g.safetensors.part", True, False)]
    assert list(tmp_path.iterdir()) == []


def test_weights_beyond_float16_are_refused(checkpoint, tmp_path, monkeypatch):
    from gancolor.models.checkpoint import describe, export_generator, load_generator

    generator = load_generator(checkpoint[0])
    next(generator.parameters()).data.view(-1)[0] = 1e6
    export_generator(tmp_path / "large.safetensors", generator, describe(checkpoint[0]))
    with pytest.raises(InputError, match="leave out --half"):
        export(tmp_path / "large.safetensors", tmp_path / "half.safetensors", "safetensors", half=True)
    assert not (tmp_path / "half.safetensors").exists()


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_weights_are_reported_as_the_checkpoints(checkpoint, tmp_path, half, value):
    from gancolor.models.checkpoint import describe, export_generator, load_generator

    generator = load_generator(checkpoint[0])
    next(generator.parameters()).data.view(-1)[0] = value
    path = tmp_path / "damaged.safetensors"
    export_generator(path, generator, describe(checkpoint[0]))
    with pytest.raises(
        InputError, match=r"damaged\.safetensors itself is not finite: its weights .* are damaged"
    ) as no:
        export(path, tmp_path / "out.safetensors", "safetensors", half)
    assert "--half" not in str(no.value) and list(tmp_path.iterdir()) == [path]


def test_non_finite_output_is_reported_as_the_checkpoints():
    class Overflowing(nn.Module):
        def forward(self, lightness):
            return GeneratorOutput(torch.cat([lightness, lightness], dim=1) * float("inf"))

    with pytest.raises(InputError, match="the checkpoint itself is not finite at 1 x 16 x 16"):
        compare_outputs(Overflowing(), lambda x: Overflowing()(x).chroma)


def test_exporter_failure_gives_a_one_line_error(checkpoint, tmp_path, monkeypatch):
    def convert(generator, half):
        raise RuntimeError("no such operation:\n\n a long story")

    broken = dataclasses.replace(formats.EXPORTERS["onnx"], convert=convert)
    monkeypatch.setitem(formats.EXPORTERS, "onnx", broken)
    with pytest.raises(InputError, match=r"attention_ugan can't be exported to onnx by torch .*another --format") as no:
        export(checkpoint[0], tmp_path / "g.onnx", "onnx")
    assert "\n" not in str(no.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["safetensors", "torch_export"])
def test_full_disk_leaves_the_old_file(checkpoint, tmp_path, name):
    """A limit on file sizes simulates a full disk."""
    resource = pytest.importorskip("resource")
    out = tmp_path / f"g{formats.EXPORTERS[name].suffixes[0]}"
    out.write_bytes(b"before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as full:
            export(checkpoint[0], out, name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert full.value.errno == errno.EFBIG and full.value.filename == str(out)
    assert out.read_bytes() == b"before" and list(tmp_path.iterdir()) == [out]
