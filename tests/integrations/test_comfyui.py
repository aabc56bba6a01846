"""The node of ComfyUI, loaded and called as ComfyUI does."""

import importlib.util
import inspect
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from made_onnx import made_onnx
from made_pictures import scene

from gancolor import Colorizer

FOLDER = Path(__file__).parents[2] / "integrations/comfyui"


@pytest.fixture
def comfy(tmp_path, monkeypatch):
    """Imitate what ComfyUI gives nodes, and how its `nodes.load_custom_node` and `execution.py` use them."""
    paths = ModuleType("folder_paths")
    paths.models_dir, paths.folder_names_and_paths = str(tmp_path / "models"), {}

    def get_filename_list(key):
        folders, suffixes = paths.folder_names_and_paths[key]
        files = [file for folder in folders for file in Path(folder).glob("*") if file.suffix in suffixes]
        return sorted(file.name for file in files)

    def get_full_path(key, name):
        found = [Path(folder) / name for folder in paths.folder_names_and_paths[key][0]]
        return next((str(path) for path in found if path.is_file()), None)

    paths.get_filename_list, paths.get_full_path = get_filename_list, get_full_path
    monkeypatch.setitem(sys.modules, "folder_paths", paths)
    (tmp_path / "models/gancolor").mkdir(parents=True)
    made_onnx(tmp_path / "models/gancolor/red.onnx", (0.0, 0.0), (0.4, 0.2))
    (tmp_path / "models/gancolor/notes.txt").write_text("no generator")
    name = "custom_nodes_gancolor"
    spec = importlib.util.spec_from_file_location(
        name, FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    module = importlib.util.module_from_spec(spec)
    for part in (name, f"{name}.nodes"):
        monkeypatch.delitem(sys.modules, part, raising=False)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    (key,) = module.NODE_CLASS_MAPPINGS
    assert module.NODE_DISPLAY_NAME_MAPPINGS.keys() == {key}
    return SimpleNamespace(node=module.NODE_CLASS_MAPPINGS[key], models=tmp_path / "models/gancolor")


def run(node, **given):
    """Fill in defaults, validate, and call the node."""
    inputs = node.INPUT_TYPES()
    assert given.keys() <= inputs["required"].keys() | inputs["optional"].keys()
    for name, (kind, *about) in inputs["required"].items():
        options = about[0] if about else {}
        given.setdefault(name, kind[0] if isinstance(kind, list) else options.get("default"))
        assert given[name] is not None, name
        if isinstance(kind, list):
            assert given[name] in kind
        elif kind in ("FLOAT", "INT"):
            assert options["min"] <= given[name] <= options["max"]
    asked = inspect.signature(node.VALIDATE_INPUTS).parameters
    valid = node.VALIDATE_INPUTS(**{name: given[name] for name in asked})
    if valid is not True:
        return valid
    node.IS_CHANGED(**{name: None if isinstance(value, torch.Tensor) else value for name, value in given.items()})
    result = getattr(node(), node.FUNCTION)(**given)
    assert isinstance(result, tuple) and len(result) == len(node.RETURN_TYPES) == 1
    return result[0]


def photographs(count: int = 2) -> torch.Tensor:
    """(B, H, W, C) in 0 to 1."""
    return torch.stack([torch.from_numpy(scene(48, 64) // (1 + n)) for n in range(count)]) / 255


def test_a_batch_is_coloured_as_the_colorizer_does(comfy) -> None:
    assert comfy.node.INPUT_TYPES()["required"]["generator"][0] == ["bundled", "red.onnx"]
    pictures = photographs()
    result = run(comfy.node, image=pictures, generator="red.onnx", strength=0.5)
    assert result.shape == pictures.shape and result.dtype == torch.float32
    colorizer = Colorizer.load(comfy.models / "red.onnx", device="cpu", strength=0.5)
    assert torch.allclose(result, colorizer(pictures.movedim(-1, 1)).movedim(1, -1), atol=1e-4)
    assert result.std(dim=-1).mean() > 0.02
    grey = run(comfy.node, image=pictures, generator="red.onnx", strength=0)
    assert grey.std(dim=-1).max() < 0.01
    assert run(comfy.node, image=pictures[..., :1] * 1.01 - 0.001, size=16).shape == pictures.shape  # the bundled one


def test_hints_colour_their_place(comfy) -> None:
    made_onnx(comfy.models / "hinted.onnx", (0.0, 0.0), (0.4, 0.2), hints=True)
    pictures, blue = photographs(), torch.zeros(1, 24, 32, 3)
    blue[..., 2] = 1
    mask = torch.zeros(1, 24, 32)
    mask[:, 8:16, 4:14] = 1
    plain = run(comfy.node, image=pictures, generator="hinted.onnx")
    hinted = run(comfy.node, image=pictures, generator="hinted.onnx", hint_image=blue, hint_mask=mask)
    assert hinted.shape == pictures.shape
    bluer = (hinted - plain)[..., 2] - (hinted - plain)[..., 0]
    assert bluer[:, 18:30, 10:26].mean() > bluer[:, :, 50:].mean() + 0.2
    empty = run(comfy.node, image=pictures, generator="hinted.onnx", hint_image=blue, hint_mask=mask * 0)
    assert torch.allclose(empty, plain, atol=1e-3)


@pytest.mark.parametrize("step", [1, 2])  # size of the mask's pixels, in those of the hint picture
def test_colours_beside_the_mask_do_not_count(comfy, step) -> None:
    made_onnx(comfy.models / "hinted.onnx", (0.0, 0.0), (0.4, 0.2), hints=True)
    blue = torch.tensor([0.1, 0.2, 0.9]).expand(1, 480, 640, 3)  # ten pixels for each of the grid's cells
    mask = torch.zeros(1, 480, 640)
    mask[:, 84:316, 144:396] = 1  # 6 of 10 pixels of the cells at its edges
    on_white = torch.where(mask[..., None] > 0, blue, 1.0)
    given = {"image": photographs(1), "generator": "hinted.onnx", "hint_mask": mask[:, ::step, ::step]}
    assert torch.equal(run(comfy.node, hint_image=on_white, **given), run(comfy.node, hint_image=blue, **given))


def test_mistakes_are_said(comfy) -> None:
    pictures = photographs(3)
    assert "less than 16" in run(comfy.node, image=pictures, size=8)
    with pytest.raises(ValueError, match="go together"):
        run(comfy.node, image=pictures, hint_image=pictures)
    with pytest.raises(ValueError, match="3 hint_image and 2 hint_mask for 3 pictures: give 1 or 3"):
        run(comfy.node, image=pictures, hint_image=pictures, hint_mask=pictures[:2, ..., 0])
    with pytest.raises(FileNotFoundError, match=r"gone\.onnx is not in models/gancolor"):
        comfy.node.IS_CHANGED("gone.onnx")


def test_a_new_file_of_the_generator_is_loaded(comfy) -> None:
    pictures, file = photographs(1), comfy.models / "red.onnx"
    red = run(comfy.node, image=pictures, generator="red.onnx")
    before = comfy.node.IS_CHANGED("red.onnx")
    made_onnx(file, (0.0, 0.0), (-0.4, 0.2))
    os.utime(file, (before + 5, before + 5))
    green = run(comfy.node, image=pictures, generator="red.onnx")
    assert comfy.node.IS_CHANGED("red.onnx") != before and (red - green)[..., 0].mean() > 0.1
