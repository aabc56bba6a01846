"""Files of each format, run by the format's own backend: output at any size, and metadata."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from small_checkpoint import PRIVATE, save_checkpoint
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

import gancolor
from gancolor.choices import EXPORT_FORMATS
from gancolor.color.lab import AB_RANGE
from gancolor.evaluation.results import describe_generator
from gancolor.export.card import model_card
from gancolor.export.exporter import card_of, export
from gancolor.export.formats import EXPORTERS, choose_format
from gancolor.export.parity import SIZES as CHECKED
from gancolor.models import takes_hints
from gancolor.models.checkpoint import describe, load_generator
from gancolor.models.layers import SelfAttention, pad_to_multiple
from gancolor.models.output import GeneratorOutput
from gancolor.utils.errors import InputError

SIZES = [(1, 64, 64), (2, 96, 160), (1, 75, 131), (1, 1, 1), (3, 31, 17), (1, 256, 192)]


def load(name, path):
    """Return a function that runs a file on lightness and on hints, if it takes them, and its metadata, without using
    gancolor."""
    extra = {"gancolor.json": ""}
    if name == "onnx":
        ort = pytest.importorskip("onnxruntime")
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        header = session.get_modelmeta().custom_metadata_map["gancolor"]
        names = [given.name for given in session.get_inputs()]

        def run(*given):
            arrays = {name: planes.numpy() for name, planes in zip(names, given, strict=True)}
            return torch.from_numpy(session.run(["chroma"], arrays)[0])

        return run, header
    if name == "torch_export":
        program = torch.export.load(io.BytesIO(path.read_bytes()), extra_files=extra).module()
        return program, extra["gancolor.json"]
    with safe_open(path, "pt") as file:
        header = file.metadata()["gancolor"]
    generator = load_generator(path)
    return lambda x: generator(x).chroma, header


def largest_difference(run, generator, batch, height, width):
    given = [torch.rand(batch, 1, height, width) * 2 - 1]
    if takes_hints(generator):
        given.append(torch.rand(batch, 3, height, width))
    with torch.no_grad():
        expected, found = generator(*given).chroma, run(*given)
    assert found.shape == (batch, 2, height, width) and found.dtype == torch.float32
    return (found - expected).abs().max().item() * AB_RANGE


def test_chroma_of_the_test_generator_is_not_grey_everywhere(checkpoint):
    with torch.no_grad():
        chroma = checkpoint[1](torch.rand(1, 1, 64, 64) * 2 - 1).chroma * AB_RANGE
    assert chroma.std() > 2


@pytest.mark.parametrize("name", EXPORTERS)
def test_exported_file_matches_the_generator_at_any_size(checkpoint, exports, name):
    run, _ = load(name, exports(name).path)
    for size in SIZES:
        assert largest_difference(run, checkpoint[1], *size) < 1e-3


@pytest.mark.parametrize("name", EXPORTERS)
def test_half_is_half_the_size_and_nearly_the_same(checkpoint, exports, name):
    half, full = exports(name, half=True), exports(name)
    assert (
        half.path.stat().st_size < 0.6 * full.path.stat().st_size
    )  # a program has about 100 kB in addition to its weights
    run, header = load(name, half.path)
    assert json.loads(header)["weights"] == "float16"
    rounded = load_generator(exports("safetensors", half=True).path)  # the computation is the same in all formats
    for size in SIZES:
        assert largest_difference(run, checkpoint[1], *size) < 0.2
        assert largest_difference(run, rounded, *size) < 1e-3


@pytest.fixture(scope="module")
def exported_with_hints(tmp_path_factory):
    """Return the path of a generator's ONNX file, which is made from what torch.export gives, and the generator: one
    with TensorFlow's padding, which depends on the size, chroma at half size, and hints, a second input."""
    folder = tmp_path_factory.mktemp("hints")
    generator = save_checkpoint(
        folder / "run.safetensors", "pretrained_ugan", backbone="tf_mobilenetv3_small_minimal_100",
        decoder_convs=1, decoder_widths=[16, 16, 16, 16], skip_norm=True, chroma_stride=2, hints=True,
    )  # fmt: skip
    card = lambda exported: model_card(exported, "g")  # noqa: E731
    return export(folder / "run.safetensors", folder / "made.onnx", "onnx", card=card).path, generator


def test_generators_with_a_timm_backbone_and_hints_are_exported_too(exported_with_hints):
    path, generator = exported_with_hints
    assert "; and hints (B, 3, H, W): ab / 110 and 1 where a colour is given" in card_of(path).read_text()
    run, _ = load("onnx", path)
    for size in SIZES:
        assert largest_difference(run, generator, *size) < 1e-2


def test_attention_to_hints_is_only_computed_if_there_are_hints(exported_with_hints):
    onnx = pytest.importorskip("onnx")
    path, generator = exported_with_hints
    graph = onnx.load(path).graph
    (choice,) = (node for node in graph.node if node.op_type == "If")
    attention, nothing = (sorted({node.op_type for node in branch.g.node}) for branch in choice.attribute)
    assert "Softmax" in attention and nothing == ["Reshape"]
    assert not any(node.op_type == "Softmax" for node in graph.node)
    assert gancolor.__file__.removesuffix("/__init__.py").encode() not in path.read_bytes()
    run, _ = load("onnx", path)
    lightness, none = torch.rand(2, 1, 64, 48) * 2 - 1, torch.zeros(2, 3, 64, 48)
    one = none.clone()
    one[1, :, 10, 10] = torch.tensor([0.5, -0.5, 1.0])
    with torch.no_grad():
        for hints in (none, one):
            assert (run(lightness, hints) - generator(lightness, hints).chroma).abs().max() < 1e-4
        assert (run(lightness, one) - run(lightness, none)).abs().amax((1, 2, 3)).gt(1e-3).tolist() == [False, True]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", EXPORTERS)
def test_exported_metadata_does_not_describe_the_machine(exports, name, half):
    exported = exports(name, half)
    said = json.loads(load(name, exported.path)[1])
    assert said["version"] == gancolor.__version__ and (said["format"], said["kind"]) == (1, "generator")
    assert said["generator"]["arch"] == "attention_ugan"
    assert (said["data"]["source"], said["data"]["train"]) == ("scenes", 6399)
    assert said["metrics"]["psnr"] == 25.6473 and said["grey"]["psnr"] == 24.3995
    assert [(d["batch"], d["height"], d["width"]) for d in said["parity"]["sizes"]] == list(CHECKED)
    assert all(0 <= d["largest_ab"] <= said["parity"]["tolerance_ab"] for d in said["parity"]["sizes"])
    assert said["config"]["optim"]["lr_g"] == 2e-4
    for private in ("out", "tracking", "lpips", "device"):
        assert private not in said["config"]
    contents = [exported.path.read_bytes()]
    if zipfile.is_zipfile(exported.path):
        with zipfile.ZipFile(exported.path) as archive:
            contents += [archive.read(entry) for entry in archive.namelist()]
    for content in contents:
        for path in (PRIVATE, "someone", gancolor.__file__.removesuffix("/__init__.py"), torch.__file__[:-12], "/tmp/"):
            assert path.encode() not in content, path


def test_export_has_no_condition_on_the_size(tmp_path):
    """ltbc leaves a photograph of its global size as it is, and resizes others."""
    generator = save_checkpoint(tmp_path / "ltbc.safetensors", "ltbc", width=4)
    exported = export(tmp_path / "ltbc.safetensors", tmp_path / "ltbc.pt2", "torch_export")
    run, _ = load("torch_export", exported.path)
    for size in ((1, 64, 64), (1, 64, 80), (2, 50, 70)):
        assert largest_difference(run, generator, *size) < 1e-3


class LikeDeoldify(nn.Module):
    """Small generator with deoldify's self-attention and spectral norm, without its ResNet."""

    stride = 4

    def __init__(self):
        super().__init__()
        self.shrink = spectral_norm(nn.Conv2d(1, 16, 4, stride=4))
        self.attention = SelfAttention(16)
        self.enlarge = spectral_norm(nn.ConvTranspose2d(16, 2, 4, stride=4))
        nn.init.ones_(self.attention.gamma)

    def forward(self, lightness):
        height, width = lightness.shape[-2:]
        chroma = torch.tanh(self.enlarge(self.attention(self.shrink(pad_to_multiple(lightness, self.stride)))))
        return GeneratorOutput(chroma[..., :height, :width])


def test_self_attention_and_spectral_norm_are_exported(tmp_path):
    original, used_up = LikeDeoldify().eval(), LikeDeoldify().eval()
    used_up.load_state_dict(original.state_dict())
    EXPORTERS["onnx"].convert(used_up, False)(tmp_path / "g.onnx", {})
    run, _ = load("onnx", tmp_path / "g.onnx")
    for size in SIZES:
        assert largest_difference(run, original, *size) < 1e-3


def test_onnx_model_is_as_documented(exports):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exports("onnx").path)
    onnx.checker.check_model(model)
    assert not any(node.metadata_props for node in model.graph.node)
    (given,), (told,) = model.graph.input, model.graph.output
    for value, name, channels in ((given, "lightness", 1), (told, "chroma", 2)):
        kind = value.type.tensor_type
        assert value.name == name and kind.elem_type == onnx.TensorProto.FLOAT
        dims = [dim.dim_param or dim.dim_value for dim in kind.shape.dim]
        assert dims == ["batch", channels, "height", "width"]
    halves = {i.data_type for i in onnx.load(exports("onnx", half=True).path).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in halves


def test_half_safetensors_keep_vectors_and_load_into_float32(checkpoint, exports):
    tensors = load_file(exports("safetensors", half=True).path)
    assert {tensor.dtype for tensor in tensors.values() if tensor.dim() > 1} == {torch.float16}
    assert torch.float16 not in {tensor.dtype for tensor in tensors.values() if tensor.dim() <= 1}
    loaded = load_generator(exports("safetensors", half=True).path)
    assert all(value.dtype in (torch.float32, torch.int64) for value in loaded.state_dict().values())
    with torch.no_grad():
        chroma = loaded(torch.zeros(1, 1, 32, 32)).chroma
    assert chroma.dtype == torch.float32


def test_exported_generator_can_be_evaluated_and_exported_again(exports, tmp_path):
    path = exports("safetensors").path
    described = describe_generator(path, describe(path))
    assert described["trained_on"] == "scenes" and described["step"] == 399
    again = export(path, tmp_path / "again.safetensors", "safetensors")
    assert again.about == exports("safetensors").about
    assert path.read_bytes() == again.path.read_bytes()


def test_onnx_without_torch(exports, monkeypatch):
    """Only NumPy and ONNX Runtime are imported."""
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(str(exports("onnx").path), providers=["CPUExecutionProvider"])
    (chroma,) = session.run(None, {"lightness": np.zeros((2, 1, 20, 30), np.float32)})
    assert chroma.shape == (2, 2, 20, 30) and np.abs(chroma).max() <= 1


# Names ----------------------------------------------------------------------------------------------------------------


def test_formats_match_the_commands_choices():
    assert tuple(EXPORTERS) == EXPORT_FORMATS


@pytest.mark.parametrize(
    ("file", "expected"),
    [("a.safetensors", "safetensors"), ("a.b.ONNX", "onnx"), ("a.pt2", "torch_export")],
)
def test_format_follows_from_the_suffix(tmp_path, file, expected):
    assert choose_format(tmp_path / file, None) == choose_format(tmp_path / file, expected) == expected


@pytest.mark.parametrize(
    ("file", "name", "match"),
    [
        ("a.pth", None, r"no format has the suffix '\.pth'; choose from \.safetensors .*did you mean \.pt2"),
        ("a", None, "no format has the suffix ''"),
        ("a.onnx", "torch_export", r"not a --format torch_export file: end it in \.pt2"),
        ("a", "onnx", r"not a --format onnx file: end it in \.onnx"),
    ],
)
def test_other_names_are_refused(tmp_path, file, name, match):
    with pytest.raises(InputError, match=match) as refusal:
        choose_format(tmp_path / file, name)
    assert "\n" not in str(refusal.value)


def test_missing_packages_give_a_one_line_error(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"--format onnx needs onnxscript: pip install 'gancolor\[export\]'"):
        choose_format(tmp_path / "a.onnx", None)
    assert choose_format(tmp_path / "a.pt2", None) == "torch_export"
