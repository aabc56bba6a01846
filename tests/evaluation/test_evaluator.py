"""The evaluator's choice of photographs. What the whole command does is in tests/e2e/test_evaluation.py."""

import json
import shutil

import pytest
from made_generators import made_generator
from PIL import Image
from small_checkpoint import save_checkpoint

from gancolor.config.evaluate import EvaluateConfig, EvaluateDataConfig
from gancolor.config.options import LpipsConfig
from gancolor.evaluation.evaluator import Evaluator
from gancolor.evaluation.results import load_result
from gancolor.evaluation.system_names import names_of_generators
from gancolor.export.exporter import export
from gancolor.models.checkpoint import describe, export_generator, load_generator
from gancolor.utils.errors import InputError


@pytest.fixture
def evaluated(tmp_path):
    """Evaluates warm copies of these photographs as another tool's pictures."""

    def evaluate(folder, **data) -> Evaluator:
        made = tmp_path / "made"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        for path in folder.iterdir():
            red, green, blue = Image.open(path).convert("RGB").split()
            Image.merge("RGB", (red, green, blue.point(lambda level: level // 2))).save(made / f"{path.stem}.png")
        config = EvaluateConfig(
            predictions=[f"tool={made}"], data=EvaluateDataConfig(str(folder), 16, **data), lpips=LpipsConfig("off")
        )
        evaluator = Evaluator(config)
        evaluator.evaluate()
        return evaluator

    return evaluate


def test_grey_photographs_are_left_out_of_all_figures_and_listed(photos, evaluated, tmp_path, capsys):
    """A tool that colours a grey photograph would lose 80 dB to grey on it, which has 100."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("00.jpg", "04.jpg", "07.jpg"):
        shutil.copy(photos / name, folder)
    before = evaluated(folder).result
    Image.open(photos / "08.jpg").convert("L").save(folder / "grey.jpg")
    capsys.readouterr()
    result = evaluated(folder).result
    assert "\n1 more left out for all systems as grey: grey.jpg\n" in capsys.readouterr().out
    assert result.made["photographs_left_out"] == {"grey.jpg": "grey"}
    assert result.files == before.files and len(result.names) == 3
    means = {name: system.means for name, system in result.systems.items()}
    assert means == {name: system.means for name, system in before.systems.items()}

    everything = evaluated(folder, min_colorfulness=0.0).result
    assert "grey.jpg" in everything.names and everything.systems["grey"].means["psnr"].mean > 35


def test_nothing_but_grey_photographs_is_refused(photos, evaluated, tmp_path):
    for name in ("00.jpg", "04.jpg"):
        (tmp_path / "grey").mkdir(exist_ok=True)
        Image.open(photos / name).convert("L").save(tmp_path / "grey" / name)
    with pytest.raises(InputError, match=r"its photographs \(2\) are all grey, .* --data\.min_colorfulness 0"):
        evaluated(tmp_path / "grey")


def test_generators_see_the_size_that_they_were_trained_on(photos, tmp_path, capsys):
    save_checkpoint(path := tmp_path / "generator.safetensors")

    def psnr(size: int, input_size: int | None = None) -> tuple[float, str]:
        config = EvaluateConfig(
            checkpoints=[str(path)], input_size=input_size, data=EvaluateDataConfig(str(photos), size),
            lpips=LpipsConfig("off"),
        )  # fmt: skip
        evaluator = Evaluator(config)
        evaluator.evaluate()
        system = list(evaluator.result.systems.values())[1]
        assert system.about["input_size"] == min(input_size or 32, max(size, 32))
        return system.means["psnr"].mean, capsys.readouterr().out

    scored, said = psnr(64)
    assert "sees 32 x 32, and its colours are resized, as gancolor colorize does" in said
    assert psnr(64, 32)[0] == scored != psnr(64, 64)[0]
    scored, said = psnr(16)
    assert "sees 32 x 32" in said
    assert psnr(16, 64)[0] == scored != psnr(16, 16)[0]  # photographs are enlarged at most to the size of training
    assert "sees" not in psnr(32)[1]


def test_strength_multiplies_generators_chroma(photos, tmp_path, capsys):
    save_checkpoint(path := tmp_path / "generator.safetensors")

    def scored(strength: float):
        config = EvaluateConfig(
            checkpoints=[str(path)], strength=strength, hints="1", data=EvaluateDataConfig(str(photos), 32),
            lpips=LpipsConfig("off"),
        )  # fmt: skip
        evaluator = Evaluator(config)
        evaluator.evaluate()
        grey, system, _ = evaluator.result.systems.values()
        return grey, system, capsys.readouterr().out

    grey, none, _ = scored(0.0)
    assert none.means["psnr"] == grey.means["psnr"]
    _, once, said = scored(1.0)
    assert "multiplied" not in said
    _, more, said = scored(1.5)
    assert "predicted chroma is multiplied by 1.5" in said and more.about["strength"] == 1.5
    colours = [found.means["colorfulness"].mean for found in (none, once, more)]
    assert colours[0] < colours[1] < colours[2]


@pytest.mark.parametrize("complete", [True, False])
def test_photographs_that_cannot_be_decoded_are_listed_whatever_a_tool_lacks(photos, tmp_path, capsys, complete):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("00.jpg", "04.jpg", "07.jpg"):
        shutil.copy(photos / name, folder)
    made = shutil.copytree(folder, tmp_path / "made")
    (folder / "broken.jpg").write_bytes((folder / "00.jpg").read_bytes()[:500])
    if not complete:
        (made / "04.jpg").unlink()
    data = EvaluateDataConfig(str(folder), 16)
    evaluator = Evaluator(EvaluateConfig(predictions=[f"tool={made}"], data=data, lpips=LpipsConfig("off")))
    evaluator.evaluate()
    assert "\n1 more can't be decoded: broken.jpg (" in capsys.readouterr().out
    left_out = evaluator.result.made["photographs_left_out"]
    assert left_out.keys() == ({"broken.jpg"} if complete else {"broken.jpg", "04.jpg"})


def test_no_photograph_is_scored_against_the_picture_of_another_that_is_not_scored(photos, tmp_path):
    for number, name in enumerate(("cats/0000.jpg", "cats/0001.jpg", "dogs/0000.jpg", "dogs/0001.jpg")):
        (tmp_path / "photographs" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sorted(photos.glob("*.jpg"))[number], tmp_path / "photographs" / name)
    made = shutil.copytree(tmp_path / "photographs", tmp_path / "made")
    (made / "dogs" / "0000.jpg").unlink()  # of the photograph that --data.val_limit 1 chooses

    def evaluate(limit: int) -> Evaluator:
        data = EvaluateDataConfig(str(tmp_path / "photographs"), 16, limit, 0.0)
        return Evaluator(EvaluateConfig(predictions=[f"tool={made}"], data=data, lpips=LpipsConfig("off")))

    with pytest.raises(InputError, match=r"\(dogs/0000.jpg: no picture with its path, and other photographs have"):
        evaluate(1)
    three = evaluate(4)
    assert three.lacking.keys() == {"dogs/0000.jpg"} and len(three.photographs) == 3


def test_photographs_of_the_training_that_are_not_here_are_said_to_be_those(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"first checkpoint's photographs \(\w+\) are not here; give --data.source$"):
        Evaluator(EvaluateConfig(checkpoints=["bundled"], device="cpu"))


def test_generator_whose_file_says_little_is_scored(photos, tmp_path):
    """Such as one that was not trained by gancolor."""
    path = made_generator(tmp_path / "g.safetensors")
    data = EvaluateDataConfig(str(photos), val_limit=2)
    evaluator = Evaluator(EvaluateConfig(checkpoints=[str(path)], data=data, lpips=LpipsConfig("off")))
    evaluator.evaluate()
    evaluator.result.save(tmp_path / "result.json")
    about = load_result(tmp_path / "result.json").systems["ugan"].about
    assert (about["step"], about["options"], about["without_effect"]) == (None, {}, [])
    assert about["trained_on"] == "demo" and about["parameters"] > 0


@pytest.mark.parametrize(
    ("about", "match"),
    [
        ({}, r"does not say the size of its photographs; give --data\.size"),
        ({"data": {"size": 16}}, r"does not say what it was trained on; give --data\.source"),
        ({"data": {"size": 16, "source": "PHOTOS"}}, "trained on a part of .* and does not say on which; give --data"),
    ],
)
def test_what_a_checkpoint_does_not_say_is_asked_for(photos, tmp_path, about, match):
    path = made_generator(tmp_path / "g.safetensors")
    about = json.loads(json.dumps(about).replace("PHOTOS", str(photos)))
    export_generator(path, load_generator(path), {"generator": describe(path)["generator"], **about})
    with pytest.raises(InputError, match=match):
        Evaluator(EvaluateConfig(checkpoints=[str(path)], lpips=LpipsConfig("off")))


def test_file_that_does_not_describe_its_generator_is_refused(photos, tmp_path):
    path = made_generator(tmp_path / "g.safetensors")
    export_generator(path, load_generator(path), {})
    with pytest.raises(InputError, match="its metadata do not fit its weights"):
        Evaluator(EvaluateConfig(checkpoints=[str(path)], data=EvaluateDataConfig(str(photos), 16)))


def test_contradictory_options_are_refused_first():
    with pytest.raises(InputError, match="--hints is for generators"):
        Evaluator(EvaluateConfig(predictions=["tool=no/such/folder"], hints="0,1"))


def test_exported_generators_earlier_training_is_noted(photos, tmp_path, capsys):
    """Its file has only the last names of folders, so the split can't be repeated."""
    path = tmp_path / "generator.safetensors"
    generator = save_checkpoint(path)
    seen = {"source": str(photos), "held_out": True, "seed": 0, "val_fraction": 0.3}
    export_generator(path, generator, describe(path) | {"trained_on": [seen]})
    export(path, exported := tmp_path / "exported.safetensors", "safetensors")
    for file, count, noted in ((path, 4, False), (exported, 12, True)):
        data = EvaluateDataConfig(str(photos), 32)
        evaluator = Evaluator(EvaluateConfig(checkpoints=[str(file)], data=data, lpips=LpipsConfig("off")))
        assert len(evaluator.photographs) == count
        said = f"note: a checkpoint was trained on a part of {photos.name}; if these are the same photographs"
        assert (said in capsys.readouterr().out) == noted


def test_a_slash_at_the_end_is_no_part_of_a_name():
    assert names_of_generators(["runs/a/", "runs/b"], [{"generator": {"arch": "ugan"}}] * 2) == ["runs/a", "runs/b"]
