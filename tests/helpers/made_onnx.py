"""Generators for ONNX Runtime whose chroma is linear in lightness, made and run without PyTorch."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper


def made_onnx(path: Path, slope: tuple[float, float], offset: tuple[float, float], size: int = 32) -> Path:
    """Write a model with chroma = slope * lightness + offset, with one value per channel."""
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
    graph = helper.make_graph(nodes, "line", [given], [said], line)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    about = {"format": 1, "kind": "generator", "data": {"size": size}}
    helper.set_model_props(model, {"gancolor": json.dumps(about)})
    onnx.save(model, path)
    return path
