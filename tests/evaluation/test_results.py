import json
import math
import os
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from made_results import made_result, made_run
from PIL import Image
from scored import photographs_of
from toys import make_generator

from gancolor.config.identity import flatten, to_dict
from gancolor.config.networks import LossConfig
from gancolor.config.options import TrainConfig
from gancolor.data.cache.photographs import load_photographs
from gancolor.data.sources.find import find_source
from gancolor.data.sources.folders import list_photographs
from gancolor.evaluation.results import (
    FORMAT,
    GALLERY,
    SystemResult,
    _without_effect,
    describe_generator,
    gallery_indices,
    load_result,
    make_result,
    read_training,
)
from gancolor.metrics.bootstrap import mean_of
from gancolor.models import generator_options
from gancolor.models.checkpoint import describe, export_generator
from gancolor.models.cost import count_macs, count_parameters
from gancolor.utils.errors import InputError


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)


def plain(photographs, systems=None, classes=(), pictures=None):
    return make_result({"name": "native"}, "somewhere", photographs, classes, systems or {}, pictures or {})


# There and back ---------------------------------------------------------------------------------------------------


HOSTILE = ["</script><script>alert(1)</script>.jpg", 'quo"te\n, and\\.png', "grün 写真.jpg", "bad \udcff byte.jpg"]


def test_result_survives_saving(tmp_path):
    whole = {"ugan": {"fid": 12.5, "kid": math.nan}}
    result = made_result({"ugan": made_run(), "tool": {"pictures": "a/b"}}, classes=("cats", "dogs"), whole=whole)
    result.names[: len(HOSTILE)] = HOSTILE
    result.systems["<b>"] = replace(result.systems["tool"])
    result.save(tmp_path / "result.json")
    read(tmp_path / "result.json")
    back = load_result(tmp_path / "result.json")
    same = ("protocol", "source", "names", "files", "classes", "sample_indices", "made")
    assert {name: getattr(back, name) for name in same} == {name: getattr(result, name) for name in same}
    assert list(back.systems) == list(result.systems)
    for name, system in result.systems.items():
        found = back.systems[name]
        assert (found.about, found.samples) == (system.about, system.samples)
        assert found.scores.keys() == system.scores.keys()
        for metric, values in system.scores.items():
            assert found.scores[metric].dtype == torch.float32
            assert torch.allclose(found.scores[metric], values, rtol=1e-5)
        assert {k: mean.mean for k, mean in found.means.items()} == pytest.approx(
            {k: mean.mean for k, mean in system.means.items()}, rel=1e-5, nan_ok=True
        )
    assert not back.why_not_comparable(result)


def test_nan_values_survive_saving(tmp_path):
    result = made_result({"tool": {}}, photographs=1)
    result.systems["tool"].scores["ssim"] = torch.tensor([math.nan])
    result.save(tmp_path / "result.json")
    content = read(tmp_path / "result.json")
    assert content["scores"]["tool"]["ssim"] == [None] and content["means"]["tool"]["psnr"]["low"] is None
    assert load_result(tmp_path / "result.json").systems["tool"].scores["ssim"].isnan().all()


def test_means_are_those_of_the_scores_and_of_some_photographs():
    system = made_result({"ugan": made_run()}, whole={"ugan": {"fid": 12.5}}).systems["ugan"]
    assert system.means["psnr"] == mean_of(system.scores["psnr"])
    assert system.means["fid"].mean == 12.5 and math.isnan(system.means["fid"].half_width)
    assert system.mean("psnr", [0, 3]).mean == pytest.approx(system.scores["psnr"][[0, 3]].mean().item())
    assert system.mean("lpips", [0, 3]) is None


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda text: text[: len(text) // 2], "not a result of evaluate.py --json or of a finished run, or damaged"),
        (lambda _: "", "or damaged"),
        (lambda _: "[1, 2]", "or damaged"),
        (lambda _: "null", "or damaged"),
        (lambda _: '{"grey": {"psnr": {"mean": 22.0}}}', "or damaged"),  # the former format of results.json
        (lambda text: text.replace('"psnr": [', '"psnr": [1.0, '), "or damaged"),
        (lambda text: text.replace('"psnr": [', '"psnr": ["x", '), "or damaged"),
        (lambda text: text.replace('"names"', '"Names"'), "or damaged"),
        (lambda text: text.replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}'), "newer gancolor than this"),
    ],
)  # fmt: skip
def test_damaged_foreign_and_newer_files_are_refused_in_one_line(tmp_path, damage, match):
    path = tmp_path / "result.json"
    made_result({"ugan": made_run()}).save(path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=match) as refusal:
        load_result(path)
    assert str(refusal.value).startswith(str(path)) and "\n" not in str(refusal.value)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: can't be read \(No such file"):
        load_result(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "binary.json"):
        with pytest.raises(InputError, match=str(path)):
            load_result(path)


# What compares ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(photos, tmp_path):
    return Path(shutil.copytree(photos, tmp_path / "photographs"))


def digest_of(folder: Path, size: int = 16) -> str:
    return plain(load_photographs(list_photographs(folder), size, folder.parent / "cache")).files


def test_digest_is_of_names_and_contents_alone(folder, tmp_path):
    before = digest_of(folder)
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(folder, copy)
    for path in copy.iterdir():
        os.utime(path, (10**9, 10**9))
    assert digest_of(copy) == before == digest_of(copy, size=24)
    (copy / "03.jpg").rename(copy / "three.jpg")
    assert digest_of(copy) != before


def test_digest_changes_with_one_byte(folder):
    before = digest_of(folder)
    content = bytearray((folder / "07.jpg").read_bytes())
    content[-2:-2] = b"\x00"  # a padding byte before the end marker, so that the picture is the same
    (folder / "07.jpg").write_bytes(content)
    assert digest_of(folder) != before


def test_digest_is_the_same_whatever_the_order(scenes):
    photographs = photographs_of(scenes)
    other = photographs.subset(photographs.names[::-1])
    assert plain(photographs).files == plain(other).files != plain(photographs.subset(photographs.names[:3])).files


def test_incomparable_results_give_a_reason():
    one = made_result({"ugan": made_run()})
    assert one.why_not_comparable(made_result({"tool": {}}, seed=3)) == ""
    smaller = made_result({"ugan": made_run()}, size=32)
    assert one.why_not_comparable(smaller) == "size 16 against 32"
    fewer = made_result({"ugan": made_run()}, photographs=7)
    said = one.why_not_comparable(fewer)
    assert said.startswith("other photographs (12 of photographs/val against 7") and "7 names in common" in said
    assert "12 names in common" in one.why_not_comparable(replace(one, files="of other contents"))
    squashed = replace(one, protocol={**one.protocol, "name": "squash256", "size": 256})
    assert one.why_not_comparable(squashed) == "name native against squash256; size 16 against 256"


# What is made -----------------------------------------------------------------------------------------------------


def test_made_result_has_pictures_classes_and_how_it_was_made(scenes, monkeypatch):
    monkeypatch.setattr("sys.argv", ["evaluate.py", "a b"])
    photographs = photographs_of(scenes, labels=[1, 0, 1, 1])
    systems = {"truth": SystemResult({"psnr": torch.zeros(4)})}
    indices = gallery_indices(photographs)
    result = plain(photographs, systems, ("cats", "dogs"), {"truth": photographs.take(indices)})
    assert result.classes == ["dogs", "cats", "dogs", "dogs"]
    assert result.by_class() == {"cats": [1], "dogs": [0, 2, 3]}
    assert result.made["command"] == "evaluate.py 'a b'" and "torch" in result.made["versions"]
    assert plain(photographs_of(scenes, labels=[1, -1, 1, 0]), classes=("cats", "dogs")).classes == []
    for data, index in zip(result.systems["truth"].samples, result.sample_indices, strict=True):
        with Image.open(BytesIO(data)) as picture:
            assert picture.format == "WEBP"
            shown = np.asarray(picture.convert("RGB")).astype(int)
        assert np.abs(shown - scenes[index].permute(1, 2, 0).numpy()).mean() < 12


def test_gallery_is_of_some_photographs_always_the_same(scenes):
    many = photographs_of(scenes[:1].expand(40, -1, -1, -1))
    indices = gallery_indices(many)
    assert len(set(indices.tolist())) == GALLERY and torch.equal(indices, gallery_indices(many))


@pytest.fixture
def exported(tmp_path):
    """Checkpoint with the metrics.jsonl of its training beside it."""
    generator, path = make_generator("ugan"), tmp_path / "generator.safetensors"
    about = {
        "generator": {"arch": "ugan", "options": {"width": 4, "size": 16}},
        "data": {"source": "photographs", "size": 16}, "config": to_dict(TrainConfig(arch="ugan", seed=7)),
        "effective_batch": 8, "step": 30, "stage": "adversarial", "metrics": {}, "grey": {},
    }  # fmt: skip
    export_generator(path, generator, about)
    lines = [
        {"step": 10, "l1": 0.1, "grad_norm_g": 1.0, "photographs_per_second": 40.0},
        {"step": 15, "val/psnr": 20.0, "val/guard": "fine", "val/lpips": None},
        {"step": 20, "discriminator": 0.5, "photographs_per_second": 80.0},
        {"step": 30, "l1": 0.1, "grad_norm_g": 1.0, "photographs_per_second": 20.0},
        {"step": 30, "val/psnr": 21.0, "val/guard": "fine"},
        {"step": 40, "l1": 0.1, "grad_norm_g": 1.0, "photographs_per_second": 1.0},
    ]
    torn = '{"step": 30, "val/ps'
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + torn)
    return path, generator


def test_generator_is_described_with_what_it_cost(exported):
    path, generator = exported
    between = {"share": 0.8, "with_sha256": "another"}
    said = describe_generator(path, describe(path) | {"interpolated": between})
    assert said["interpolated"] == between and describe_generator(path, describe(path))["interpolated"] == {}
    assert (said["arch"], said["step"], said["stage"]) == ("ugan", 30, "adversarial")
    assert (said["checkpoint"], said["trained_on"]) == (str(path), "photographs")
    assert said["options"]["seed"] == 7 and said["options"]["loss.l1"] == 100
    assert said["parameters"] == count_parameters(generator) and said["macs"] == count_macs(generator, 256)
    assert said["seconds"] == pytest.approx(10 * 8 / 40 + 10 * 8 / 80 + 10 * 8 / 20)  # of the steps up to the 30th
    assert said["photographs_per_second"] == 30  # of the generator's training, the median
    assert said["curves"] == {"psnr": [[15, 20.0], [30, 21.0]]}
    json.dumps(said, allow_nan=False)


def test_generator_without_a_record_has_no_training(exported):
    path, _ = exported
    (path.parent / "metrics.jsonl").unlink()
    said = describe_generator(path, describe(path))
    assert "seconds" not in said and said["parameters"] > 0
    assert read_training(path.parent, 8, 30) == {}


def test_demo_photographs_have_a_digest(tmp_path):
    found = [
        plain(load_photographs(find_source("demo", demo_photos=count).val, 16, tmp_path)).files for count in (50, 120)
    ]
    assert len(set(found)) == 2 and all(len(digest) == 64 for digest in found)


@pytest.mark.parametrize(
    ("given", "idle"),
    [
        ({"arch": "polychromify"}, {"generator.backbone", "generator.width", "loss.perceptual_weights"}),
        ({"loss": LossConfig(gan=0)}, {"discriminator.width", "loss.gan_mode", "optim.lr_d", "loss.r1"}),
        ({"loss": LossConfig(perceptual=1.0)}, {"generator.backbone", "hints.p"}),
    ],
)
def test_options_without_effect_are_listed(given, idle):
    config = TrainConfig(**{"arch": "ugan", **given})
    built = dict.fromkeys(generator_options(config.arch))
    found = _without_effect(flatten(config), config.arch, built)
    assert idle <= set(found) and not {"seed", "arch", "loss.l1", "optim.lr_g", "data.size"} & set(found)
    assert ("loss.perceptual_weights" in found) == (not config.loss.perceptual)
    assert ("discriminator.layers" in found) == ("data.real_saturation" in found) == (not config.loss.gan)


@pytest.mark.parametrize(("arch", "hints"), [("ugan", True), ("ugan", False), ("siggraph17", False), ("eccv16", True)])
def test_options_of_hints_have_an_effect_on_generators_that_take_them(arch, hints):
    idle = _without_effect(flatten(TrainConfig(arch=arch)), arch, {"hints": hints})
    assert ("hints.p" in idle) == ((arch, hints) in [("ugan", False), ("eccv16", True)])
