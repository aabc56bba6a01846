"""File formats of generators. All map lightness (B, 1, H, W) in [-1, 1], and hints (B, 3, H, W) if the generator takes
them, to chroma (B, 2, H, W) in [-1, 1], float32, for any B, H and W, and contain the same metadata as JSON."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gancolor.export.parity import Inference
from gancolor.models import takes_hints
from gancolor.models.checkpoint import export_generator, generator_header, load_generator
from gancolor.models.hint_attention import HintAttention
from gancolor.utils.errors import InputError, near
from gancolor.utils.metadata import KEY, write_header

EXTRA_FILE = f"{KEY}.json"  # the metadata's name in torch's archives
EXAMPLE = (2, 75, 101)  # batch, height and width to trace with: no multiple of any stride, so that padding is traced
# Where torch notes the source files of each operation, with their paths on this machine.
SOURCE_NOTES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn")

FileWriter = Callable[[Path, Mapping[str, Any]], None]  # writes a file with this metadata


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        suffixes: of its files, the usual one first.
        convert: takes a generator, which it modifies, and whether to store kernels as float16; returns the writer.
        open: takes a file; returns a function that runs it with the format's own backend.
        packages: that it needs in addition to the trainer's.
    """

    suffixes: tuple[str, ...]
    convert: Callable[[nn.Module, bool], FileWriter]
    open: Callable[[Path], Inference]
    packages: tuple[str, ...] = ()


class ChromaOf(nn.Module):
    """A generator that returns only chroma."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        chroma: Tensor = self.generator(lightness, *([] if hints is None else [hints])).chroma
        return chroma


class _IfHinted(nn.Module):
    """Hint attention that the exported program only computes if there are hints. It takes a third of the time, and
    without hints it corrects nothing."""

    def __init__(self, attend: HintAttention) -> None:
        super().__init__()
        self.attend = attend

    def forward(self, chroma: Tensor, features: Tensor, hints: Tensor) -> Tensor:
        # For torch 2.11: exported programs run without autocast, whose switches it can't trace in a branch; and of
        # results with more than one symbolic side it can't compare the strides.
        flat = torch.cond(
            hints[:, 2:].max() > 0,
            lambda *given: self.attend.corrected(*given).flatten(),
            lambda chroma, *_: chroma.clone(memory_format=torch.contiguous_format).flatten(),
            (chroma, features, hints),
        )
        return flat.reshape(chroma.shape)


class _ToFloat(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.float()


def _prepare(generator: nn.Module, half: bool) -> ChromaOf:
    """Prepare a generator for tracing: replace computed weights (spectral norm) by their values and, with `half`, store
    weights as float16 that are converted to float32 on use."""
    for layer in list(generator.modules()):
        if parametrize.is_parametrized(layer):
            for name in list(layer.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(layer, name)
    generator.requires_grad_(False)
    if isinstance(attend := getattr(generator, "attend", None), HintAttention):
        generator.attend = _IfHinted(attend)
    for layer in list(generator.modules()) if half else []:
        for name, weight in list(layer.named_parameters(recurse=False)):
            if weight.dim() > 1:
                setattr(layer, name, nn.Parameter(weight.half(), requires_grad=False))
                parametrize.register_parametrization(layer, name, _ToFloat(), unsafe=True)  # the type changes
    return ChromaOf(generator).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's exporters, whose messages are meant for their developers."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


# Formats --------------------------------------------------------------------------------------------------------------


def _to_safetensors(generator: nn.Module, half: bool) -> FileWriter:
    return lambda path, about: export_generator(path, generator, about, half)


def _open_safetensors(path: Path) -> Inference:
    generator = load_generator(path)

    @torch.inference_mode()
    def run(*given: Tensor) -> Tensor:
        return generator(*given).chroma

    return run


def _program(generator: nn.Module, half: bool) -> torch.export.ExportedProgram:
    """Export the generator as a graph, for any size."""
    from torch.fx.experimental import _config as symbolic_shapes

    batch, *size = EXAMPLE
    examples = tuple(torch.zeros(batch, channels, *size) for channels in ((1, 3) if takes_hints(generator) else (1,)))
    dynamic = (dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC),) * len(examples)
    # Otherwise feature maps of size 1, which small photographs have, would need another program:
    # https://github.com/pytorch/pytorch/issues/151582
    oblivious = symbolic_shapes.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]
    with torch.no_grad(), oblivious:
        program = torch.export.export(_prepare(generator, half), examples, dynamic_shapes=dynamic)
    # The remaining guards on the size don't affect the output: memory layouts, and whether ltbc resizes a photograph of
    # its own global size.
    program._guards_code = []
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else []:
            for note in SOURCE_NOTES:
                node.meta.pop(note, None)
    return program


def _to_torch_export(generator: nn.Module, half: bool) -> FileWriter:
    with _quiet():
        program = _program(generator, half)

    def write(path: Path, about: Mapping[str, Any]) -> None:
        archive = io.BytesIO()  # on a full disk, Python raises OSError, but torch's writers another error
        with _quiet():
            torch.export.save(program, archive, extra_files={EXTRA_FILE: _header(about)})
        path.write_bytes(archive.getbuffer())

    return write


def _open_torch_export(path: Path) -> Inference:
    with _quiet(), path.open("rb") as file:
        return torch.inference_mode()(torch.export.load(file).module())


def _to_onnx(generator: nn.Module, half: bool) -> FileWriter:
    from onnxscript.optimizer import remove_unused_nodes

    with _quiet():
        program = torch.onnx.export(
            _program(generator, half),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["lightness", "hints"] if takes_hints(generator) else ["lightness"],
            output_names=["chroma"],
            custom_translation_table={torch.ops.aten.scaled_dot_product_attention.default: _attention},
        )
    assert program is not None
    remove_unused_nodes(program.model)  # constants left over from the branches, of which ONNX Runtime warns
    model = program.model_proto
    graph = model.graph
    _clear_notes(graph)
    for value in (*graph.input, graph.output[0]):
        for axis, name in {0: "batch", 2: "height", 3: "width"}.items():
            value.type.tensor_type.shape.dim[axis].dim_param = name

    def write(path: Path, about: Mapping[str, Any]) -> None:
        model.ClearField("metadata_props")
        model.metadata_props.add(key=KEY, value=_header(about))
        path.write_bytes(model.SerializeToString())

    return write


def _clear_notes(graph: Any) -> None:
    """Remove the exporter's notes from an ONNX graph and its branches."""
    for field in ("metadata_props", "value_info"):
        graph.ClearField(field)
    for node in graph.node:
        node.ClearField("metadata_props")
        for branch in (attribute.g for attribute in node.attribute if attribute.HasField("g")):
            _clear_notes(branch)


def _attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """Translate deoldify's self-attention, (B, positions, C), because torch's own translation requires a dimension of
    heads (https://github.com/pytorch/pytorch/pull/157130)."""
    from onnxscript import opset20 as op

    assert attn_mask is None and not is_causal and scale == 1.0
    return op.MatMul(op.Softmax(op.MatMul(query, op.Transpose(key, perm=[0, 2, 1])), axis=-1), value)


def _open_onnx(path: Path) -> Inference:
    from gancolor.inference.backends import OnnxBackend

    return OnnxBackend(path, "cpu")


def _header(about: Mapping[str, Any]) -> str:
    return write_header(generator_header(about))


EXPORTERS: dict[str, Format] = {
    "safetensors": Format((".safetensors",), _to_safetensors, _open_safetensors),
    "onnx": Format((".onnx",), _to_onnx, _open_onnx, ("onnx", "onnxscript", "onnxruntime")),
    "torch_export": Format((".pt2",), _to_torch_export, _open_torch_export),
}


def choose_format(out: Path, name: str | None) -> str:
    """Return the format of a file, by its suffix, which must match `name` if one is given.

    Raises:
        InputError: an unknown suffix or that of another format, or packages that the format needs are not installed.
    """
    of_suffix = {suffix: name for name, format in EXPORTERS.items() for suffix in format.suffixes}
    found = of_suffix.get(out.suffix.lower())
    if name is None and found is None:
        known = ", ".join(f"{suffix} ({format})" for suffix, format in of_suffix.items())
        raise InputError(
            f"-o {out}: no format has the suffix {out.suffix!r}; choose from {known}{near(out.suffix, of_suffix)}"
        )
    if name is not None and found != name:
        raise InputError(f"-o {out} is not a --format {name} file: end it in {' or '.join(EXPORTERS[name].suffixes)}")
    chosen = name or found or ""
    if missing := [package for package in EXPORTERS[chosen].packages if find_spec(package) is None]:
        raise InputError(f"--format {chosen} needs {' and '.join(missing)}: pip install 'gancolor[export]'")
    return chosen
