"""Sharing of weights between an ONNX file and the safetensors file beside it, so that the pair takes half the space."""

import hashlib
import json
from pathlib import Path

from gancolor.utils.errors import InputError
from gancolor.utils.files import write_atomically

LEAST = 1024  # bytes: smaller tensors stay in the ONNX file


def share_weights(onnx_file: str | Path, safetensors_file: str | Path) -> int:
    """Make an ONNX file take its weights from a safetensors file in the same folder, and return the bytes saved.

    Tensors with the same bytes in both become ONNX's external data: a file's name, an offset and a length. The ONNX
    file only works beside the other one from then on.

    Raises:
        InputError: the files are in different folders, or share no weights.
    """
    import onnx

    onnx_file, safetensors_file = Path(onnx_file), Path(safetensors_file)
    if onnx_file.resolve().parent != safetensors_file.resolve().parent:
        raise InputError(f"{safetensors_file} has to be in the folder of {onnx_file}")
    places = _places(safetensors_file.read_bytes())
    model, before = onnx.load(onnx_file), onnx_file.stat().st_size
    for tensor in model.graph.initializer:
        place = places.get(hashlib.sha256(tensor.raw_data).digest())
        if place is None or len(tensor.raw_data) < LEAST:
            continue
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in zip(("location", "offset", "length"), (safetensors_file.name, *place), strict=True):
            tensor.external_data.add(key=key, value=str(value))
    content = model.SerializeToString()
    if not any(tensor.external_data for tensor in model.graph.initializer):
        raise InputError(f"{onnx_file} and {safetensors_file} have no weights in common")
    write_atomically(onnx_file, lambda beside: beside.write_bytes(content))
    return before - len(content)


def _places(content: bytes) -> dict[bytes, tuple[int, int]]:
    """Return offset and length in the file by the SHA-256 of each tensor's bytes.

    The format: https://huggingface.co/docs/safetensors/index#format
    """
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    spans = [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]
    return {
        hashlib.sha256(content[start + first : start + last]).digest(): (start + first, last - first)
        for first, last in spans
    }
