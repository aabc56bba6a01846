"""The bundled generator matches its card."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_pictures import colourfulness, scene
from safetensors import safe_open

from gancolor import Colorizer
from gancolor.inference import bundled
from gancolor.inference.backends import OnnxBackend
from gancolor.utils.files import file_digest

ROOT = Path(__file__).resolve().parents[2]
FILES = [bundled.FOLDER / f"generator.{suffix}" for suffix in ("safetensors", "onnx")]
CARD = (bundled.FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def about() -> dict:
    with safe_open(FILES[0], "np") as file:
        return json.loads(file.metadata()["gancolor"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.suffix)
def test_bundled_generator_is_small_and_described_by_its_card(path: Path) -> None:
    assert sum(file.stat().st_size for file in FILES) <= 16e6
    assert f"{path.stat().st_size / 1e6:.1f} MB" in CARD
    assert file_digest(path) in CARD


def test_bundled_generator_is_in_half_precision() -> None:
    with safe_open(FILES[0], "np") as file:
        kernels = [tensor for name in file.keys() if (tensor := file.get_tensor(name)).ndim > 1]  # noqa: SIM118
    assert kernels
    assert {kernel.dtype for kernel in kernels} == {np.dtype("float16")}


def test_card_has_scores_better_than_grey_on_all_photographs(about: dict) -> None:
    rows = re.findall(r"^\| (grey|pretrained_attention_ugan|truth) +\|(.*)\|$", CARD, re.MULTILINE)
    assert [name for name, _ in rows] == ["grey", "pretrained_attention_ugan", "truth"] * 3  # general, scenes, photos
    cells = [[cell.split(" ± ")[0].strip() for cell in row.split("|")] for _, row in rows]
    for grey, ours, truth in (cells[:3], cells[3:6], cells[6:]):
        gain, lpips, colourfulness = float(ours[1]), float(ours[3]), float(ours[5])
        assert gain > 0 and lpips < 0.8 * float(grey[3]) and colourfulness > 0.6 * float(truth[5])
    assert float(cells[1][1]) >= 1.5 and float(cells[4][1]) >= 2.0 and float(cells[7][1]) >= 0.8
    assert float(cells[1][5]) >= 0.69 * float(cells[2][5])
    assert about["interpolated"]["share"] == 0.45 and "--interpolate QR.safetensors 0.45" in CARD
    assert "180 photographs, one of each of 180 classes of ImageNet" in CARD


def test_bundled_metadata_has_the_recipe_and_no_local_path(about: dict) -> None:
    recipe = yaml.safe_load((ROOT / "configs" / "general.yaml").read_text())
    assert about["generator"]["arch"] == recipe["arch"]
    assert {name: about["generator"]["options"][name] for name in recipe["generator"]} == recipe["generator"]
    assert about["data"]["size"] == 160 and about["generator"]["options"]["hints"]
    assert not re.search(r"""["' (]/\w""", json.dumps(about) + CARD)


def test_both_bundled_files_agree_and_colour_a_sky() -> None:
    sky = np.repeat(np.linspace(0.35, 0.75, 192, dtype=np.float32)[:, None], 256, axis=1)[..., None]
    by_torch, by_onnx = (Colorizer.load(path)(sky) for path in FILES)
    assert np.abs(by_torch - by_onnx).max() < 0.004
    assert colourfulness(by_torch) > 5
    assert by_torch[:64, :, 2].mean() > by_torch[:64, :, 0].mean() + 0.02  # blue above red
    assert isinstance(Colorizer.load(FILES[1]).backend, OnnxBackend)


def test_bundled_generator_is_the_onnx_file_on_a_cpu_or_without_torch(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(bundled, "DRIVERS", (tmp_path / "driver",))
    assert bundled.default_generator() == bundled.default_generator("cpu") == FILES[1]
    assert bundled.default_generator("cuda") == FILES[0]
    (tmp_path / "driver").touch()
    assert bundled.default_generator() == FILES[0] and bundled.default_generator("cpu") == FILES[1]
    monkeypatch.setattr(bundled, "has_torch", lambda: False)
    assert bundled.default_generator() == bundled.default_generator("cuda") == FILES[1]
    assert colourfulness(Colorizer.load()(scene(100, 120))) > 1


def test_its_name_stands_for_the_file() -> None:
    assert bundled.named_checkpoint("bundled") == FILES[0]
    assert bundled.named_checkpoint("runs/bundled") == Path("runs/bundled")
