"""Generators for ONNX Runtime whose chroma is linear in lightness, made and run without PyTorch."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper


def made_onnx(
    path: Path, slope: tuple[float, float], offset: tuple[float, float], size: int = 32, hints: bool = False
) -> Path:
    """Write a model with chroma = slope * lightness + offset, with one value per channel; with `hints`, it takes hints,
    and adds their chroma."""
    given, said = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["b", channels, "h", "w"])
        for name, channels in (("lightness", 1), ("chroma", 2))
    )
    line = [
        numpy_helper.from_array(np.array(values, np.float32).reshape(1, 2, 1, 1), name)
        for name, values in (("slope", slope), ("offset", offset))
    ]
    nodes = [
        helper.make_node("Mul", ["lightness", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["chroma"]),
    ]
    inputs = [given]
    if hints:
        inputs.append(helper.make_tensor_value_info("hints", onnx.TensorProto.FLOAT, ["b", 3, "h", "w"]))
        line += [
            numpy_helper.from_array(np.array([end], np.int64), name)
            for name, end in (("first", 0), ("last", 2), ("axis", 1))
        ]
        nodes[-1].output[0] = "automatic"
        nodes += [
            helper.make_node("Slice", ["hints", "first", "last", "axis"], ["colour"]),
            helper.make_node("Add", ["automatic", "colour"], ["chroma"]),
        ]
    graph = helper.make_graph(nodes, "line", inputs, [said], line)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    about = {"format": 1, "kind": "generator", "data": {"size": size}}
    helper.set_model_props(model, {"gancolor": json.dumps(about)})
    onnx.save(model, path)
    return path
