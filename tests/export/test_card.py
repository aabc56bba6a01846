"""The model card: description, training, scores and limits."""

import dataclasses
import json

import pytest
import torch
import yaml
from made_results import made_result, made_run
from small_checkpoint import PRIVATE

from gancolor.config.identity import fixed_options, flatten, to_dict
from gancolor.export.card import model_card
from gancolor.export.description import last_name, public_description
from gancolor.export.scores import load_scores
from gancolor.inference.bundled import named_checkpoint
from gancolor.models.checkpoint import describe
from gancolor.training.command import parse_train
from gancolor.utils.errors import InputError
from gancolor.utils.files import file_digest


@pytest.fixture
def result(checkpoint, tmp_path):
    """Result that contains scores of the checkpoint and of another system."""
    run = made_run() | {"sha256": file_digest(checkpoint[0])}
    made = made_result({"mine": run, "other": made_run(place=1)})
    made.source = f"{PRIVATE}/val"
    made.save(tmp_path / "result.json")
    return tmp_path / "result.json"


def front_matter(card):
    _, front, rest = card.split("---\n", 2)
    return yaml.safe_load(front), rest


def test_card_says_what_it_was_trained_on_and_scored(exports):
    front, text = front_matter(model_card(exports("safetensors"), "g.safetensors"))
    assert front["library_name"] == "gancolor" and front["pipeline_tag"] == "image-to-image"
    assert "attention_ugan" in front["tags"] and "license" not in front
    assert "6,399 photographs of scenes at 32 x 32 (forest, sea), and on nothing else" in text
    assert "540 photographs of scenes that it was not trained on" in text
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert " 24.40 " in rows["grey"] and " 25.65 " in rows["attention_ugan"] and " 1.25 " in rows["attention_ugan"]
    assert "399 steps of 16 photographs" in text
    assert "guesses, not history" in text and "come out worse than left grey" in text
    assert 'gancolor.Colorizer.load("g.safetensors")' in text
    assert "1 x 75 x 131" in text and file_digest(exports("safetensors").path) in text
    assert "Not stated" in text
    assert PRIVATE not in text and "someone" not in text


def described(exported, about):
    """The same exported file with metadata of another checkpoint."""
    published = public_description(about) | {name: exported.about[name] for name in ("weights", "parity")}
    return dataclasses.replace(exported, about=published)


def recipe_in(card):
    return card.split("```yaml\n")[1].split("```")[0]


# How a run computes, but not what.
HARDWARE = ("device", "compile", "cuda_graphs", "deterministic")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--config", "hints", "--init", "bundled", "--seed", "7"],
        ["--init", "FILE", "--hints.p", "0.25", "--data.source", "hf:owner/name"],
        ["--arch", "siggraph17", "--hints.absent", "0.5"],
    ],
)
def test_recipe_trains_the_same_again(exports, checkpoint, tmp_path, words):
    """A recipe in a card does not say where the file of --init is: that is added, as the card says."""
    init = ["--init", str(checkpoint[0])] if "FILE" in words else []
    words = [str(checkpoint[0]) if word == "FILE" else word for word in words]
    config = to_dict(parse_train(words)) if words else describe(checkpoint[0])["config"]
    generator = {"arch": config["arch"], "options": config["generator"]}
    card = model_card(described(exports("safetensors"), {"generator": generator, "config": config}), "g.safetensors")
    (tmp_path / "recipe.yaml").write_text(recipe_in(card), encoding="utf-8")
    assert ("python train.py --config recipe.yaml --init START\n\nwhere START is the generator" in card) == bool(init)
    again = fixed_options(parse_train(["--config", str(tmp_path / "recipe.yaml"), *init]))
    expected = {name: value for name, value in flatten(config).items() if name in again}
    hidden = {"data.source": "scenes", "generator.backbone_weights": "file", "loss.perceptual_weights": "file"}
    expected |= {name: value for name, value in hidden.items() if PRIVATE in expected[name]}
    assert {name: again[name] for name in again if name not in HARDWARE} == {
        name: value for name, value in expected.items() if name not in HARDWARE
    }


def test_card_says_what_training_started_from(exports, checkpoint):
    about = describe(checkpoint[0])
    digest = {"init_sha256": "0bf703d0"}
    start = {"source": f"{PRIVATE}/people", "held_out": True, "seed": 0, "val_fraction": 0.1}
    bundled = {"config": about["config"] | {"init": "bundled"}}
    encoder = about | {"generator": {"arch": "pretrained_ugan", "options": {"backbone_weights": "imagenet"}}}
    fine_tuned = encoder | digest | {"trained_on": [start, start]}
    scratch = encoder | {"generator": {"arch": "pretrained_ugan", "options": {"backbone_weights": "random"}}}
    file = encoder | {"generator": {"arch": "pretrained_ugan", "options": {"backbone_weights": f"{PRIVATE}/a.pth"}}}
    between = {"interpolated": {"share": 0.4, "with_sha256": "4d35"}}
    expected = [
        (about, "(forest, sea), and on nothing else."),
        (scratch, "(forest, sea), and on nothing else."),
        (encoder, "(forest, sea), starting from an encoder pretrained on ImageNet."),
        (file, "(forest, sea), starting from an encoder whose weights came from elsewhere."),
        (about | digest, "(forest, sea), starting from another generator (sha256 `0bf703d0`)."),
        (about | digest | bundled, "(forest, sea), starting from gancolor's bundled generator (sha256 `0bf703d0`)."),
        (fine_tuned, "another generator (sha256 `0bf703d0`, trained on photographs of people) and an encoder pretra"),
        (about | between, "(forest, sea), and interpolated with another generator."),
        (about | digest | between, "(sha256 `0bf703d0`), and interpolated with another generator."),
    ]
    for told, said in expected:
        text = model_card(described(exports("safetensors"), told), "g.safetensors")
        assert said in text and PRIVATE not in text
        assert ("and on nothing else" in text) == ("and on nothing else" in said)
        held_out = "that this training held out" if "init_sha256" in told else "that it was not trained on"
        assert f"540 photographs of scenes {held_out}; means" in text


def test_card_of_the_bundled_generator_claims_no_more_than_its_file_says(exports):
    text = model_card(described(exports("safetensors"), describe(named_checkpoint("bundled"))), "b.safetensors")
    assert "starting from another generator (sha256 `a14869c3" in text and "an encoder pretrained on ImageNet" in text
    assert "nothing else" not in text and "(the file does not say how hints were drawn)" in text
    assert yaml.safe_load(recipe_in(text))["init_sha256"].startswith("a14869c3")


def test_card_has_the_given_license(exports):
    front, text = front_matter(model_card(exports("safetensors"), "g.safetensors", license_id="apache-2.0: x\n- y"))
    assert front["license"] == "apache-2.0: x\n- y" and "apache-2.0" in text.split("## Licence")[1]


def test_use_of_programs_is_shown(exports):
    program = dataclasses.replace(exports("safetensors"), format="torch_export")
    card = model_card(program, "g.pt2")
    assert 'torch.export.load("g.pt2").module()' in card and "generator(lightness))\n" in card
    about = program.about | {"generator": {"arch": "siggraph17", "options": {}}}
    card = model_card(dataclasses.replace(program, about=about), "g.pt2")
    assert "hints = torch.zeros(" in card and "generator(lightness, hints))\n" in card


def test_results_add_scores_with_intervals(exports, checkpoint, result):
    text = model_card(exports("safetensors"), "g.safetensors", load_scores([result], checkpoint[0]))
    assert "12 photographs of val, protocol `native`, 16 x 16" in text and PRIVATE not in text
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    assert rows[2:5] == ["grey", "mine", "truth"] and "other" not in rows
    assert " ± " in text.split("## Figures")[1]
    assert "without intervals" not in text


def test_scores_of_another_size_or_strength_say_so(exports, checkpoint, result):
    content = json.loads(result.read_text())
    content["about"]["mine"] |= {"input_size": 32, "strength": 1.25}
    result.write_text(json.dumps(content))
    text = model_card(exports("safetensors"), "g.safetensors", load_scores([result], checkpoint[0]))
    assert "16 x 16 (the generator sees 32 x 32), chroma multiplied by 1.25; mean ± half" in text


def test_results_of_the_run_itself_are_used(exports, checkpoint, result, tmp_path):
    path = tmp_path / "generator.safetensors"
    path.write_bytes(checkpoint[0].read_bytes())
    (tmp_path / "results.json").write_bytes(result.read_bytes())
    assert len(load_scores([], path)) == 1
    assert len(load_scores([result], path)) == 1
    assert len(load_scores([tmp_path / "results.json"], path)) == 1
    made_result({"other": made_run()}).save(
        tmp_path / "results.json"
    )  # results of the finished generator, which this checkpoint is not
    assert load_scores([], path) == []


def test_another_result_on_the_same_photographs_adds_its_metrics(exports, checkpoint, tmp_path):
    path = tmp_path / "run" / "generator.safetensors"
    path.parent.mkdir()
    path.write_bytes(checkpoint[0].read_bytes())
    about = {"sha256": file_digest(path)}
    made_result({"attention_ugan": about}).save(path.parent / "results.json")
    again = made_result({"runs/a": about | {"input_size": 16, "strength": 1.0}}, whole={"runs/a": {"fid": 12.34}})
    again.systems["runs/a"].scores["lpips"] = torch.full((12,), 0.1234)
    again.save(tmp_path / "again.json")
    (scored,) = load_scores([tmp_path / "again.json"], path)
    assert list(scored.systems) == ["grey", "attention_ugan", "truth"]
    text = model_card(exports("safetensors"), "g.safetensors", [scored])
    assert "LPIPS" in text and "0.1234" in text and "FID" in text and "12.34" in text


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (("/data/scenes/val", "/data/people/val"), ["scenes/val", "people/val"]),
        (("/data/scenes/val", "C:\\people"), ["val", "people"]),
        (("/data/val/", "/data/val"), ["val (digest digest of th)", "val (digest another set)"]),
    ],
)
def test_sets_of_photographs_are_kept_and_told_apart(exports, checkpoint, tmp_path, sources, names):
    """Also if their number, protocol, size and last name are the same."""
    for source, digest in zip(sources, ("digest of the first", "another set"), strict=True):
        made = made_result({"mine": {"sha256": file_digest(checkpoint[0])}})
        made.source, made.files = source, digest
        made.systems["mine"].scores["gain"] -= 5 * (digest == "another set")
        made.save(tmp_path / f"{digest}.json")
    scores = load_scores([tmp_path / "digest of the first.json", tmp_path / "another set.json"], checkpoint[0])
    assert [scored.photographs.split(", protocol")[0] for scored in scores] == [
        f"12 photographs of {name}" for name in names
    ]
    text = model_card(exports("safetensors"), "g.safetensors", scores)
    assert text.count(" dB below grey") == 1 and "/data" not in text


def test_another_protocol_size_or_strength_is_another_set_of_scores(checkpoint, tmp_path):
    about = {"sha256": file_digest(checkpoint[0])}
    ways = [about, about | {"input_size": 16}, about | {"input_size": 32}, about | {"strength": 1.2}]
    made = [made_result({"mine": way}) for way in ways]
    made.append(made_result({"mine": about}))
    made[-1].protocol["photographs"] = "the first"
    files = [tmp_path / f"{number}.json" for number in range(len(made))]
    for result, file in zip(made, files, strict=True):
        result.save(file)
    assert len(load_scores(files, checkpoint[0])) == 4


def test_card_warns_of_scores_below_grey(exports, checkpoint, tmp_path):
    made = made_result({"mine": made_run() | {"sha256": file_digest(checkpoint[0])}})
    made.systems["mine"].scores["gain"] -= 5
    made.save(tmp_path / "result.json")
    text = model_card(exports("safetensors"), "g.safetensors", load_scores([tmp_path / "result.json"], checkpoint[0]))
    below = -made.systems["mine"].scores["gain"].mean().item()
    assert f"it scores {below:.2f} dB below grey" in text


def test_result_of_another_generator_is_refused(checkpoint, tmp_path):
    made_result({"other": made_run()}).save(tmp_path / "result.json")
    with pytest.raises(InputError, match=r"was not scored there \(other were\); run evaluate\.py"):
        load_scores([tmp_path / "result.json"], checkpoint[0])
    with pytest.raises(InputError, match="can't be read"):
        load_scores([tmp_path / "none.json"], checkpoint[0])


def test_card_of_a_file_with_little_metadata(exports):
    exported = exports("safetensors")
    little = {name: exported.about[name] for name in ("generator", "weights", "parity")}
    text = model_card(dataclasses.replace(exported, about=little), "g.safetensors")
    assert "that the file does not name" in text and "The file does not say how it was trained" in text


def without(about, path):
    name, *rest = path
    return {k: without(v, rest) if k == name else v for k, v in about.items() if k != name or rest}


@pytest.mark.parametrize(
    ("path", "left"),
    [(("data", "size"), "6,399 photographs of scenes (forest, sea), and"), (("effective_batch",), "399 steps with"),
     (("step",), "Training with gancolor"), (("trained_with",), "399 steps of 16 photographs, by"),
     (("data", "train"), "trained on photographs of scenes at"), (("data", "val"), "photographs of scenes that it was"),
     (("data", "source"), "photographs that the file does not name"), (("data", "classes"), "scenes at 32 x 32, and"),
     (("config", "arch"), "arch: attention_ugan"), (("grey",), "25.65"), (("metrics",), "no validation scores")],
)  # fmt: skip
def test_missing_metadata_is_left_out_of_the_card(exports, path, left):
    exported = exports("safetensors")
    text = model_card(dataclasses.replace(exported, about=without(exported.about, path)), "g.safetensors")
    assert left in text and "None x" not in text and "gancolor None" not in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": "scenes"},
        {"data": {"source": "scenes", "train": "many", "val": None, "classes": 3}},
        {"config": [1]},
        {"step": "last", "effective_batch": None},
        {"metrics": {"psnr": "good", "gain": None, "ssim": 0.5, "fid": float("nan")}, "grey": [24.0]},
    ],
)
def test_invalid_metadata_is_left_out_of_the_card(exports, wrong):
    exported = exports("safetensors")
    about = public_description(exported.about | wrong) | {name: exported.about[name] for name in ("weights", "parity")}
    text = model_card(dataclasses.replace(exported, about=about), "g.safetensors")
    assert not any(word in text for word in ("good", "many", "last steps", "None", "nan"))
    assert "metrics" not in wrong or " 0.5000 " in text


@pytest.mark.parametrize(
    ("name", "loaded"),
    [("U.ONNX", "load"), ("U.SafeTensors", "load"), ("o/n", "from_pretrained"), ("o/n.onnx", "from_pretrained")],
)
def test_usage_depends_on_file_or_repository(exports, name, loaded):
    assert f'gancolor.Colorizer.{loaded}("{name}")' in model_card(exports("safetensors"), name)


@pytest.mark.parametrize(
    ("path", "name"),
    [("/data/scenes", "scenes"), ("/data/scenes/", "scenes"), ("C:\\data\\scenes", "scenes"), ("demo", "demo"),
     ("/", "photographs"), ("", "photographs")],
)  # fmt: skip
def test_folders_are_reduced_to_their_last_name(path, name):
    assert last_name(path) == name


@pytest.mark.parametrize(
    ("source", "published"),
    [("/data/scenes", "scenes"), ("demo", "demo"), ("pets", "pets"), ("hf:owner/name", "hf:owner/name"),
     ("hf-stream:owner/name:config#image", "hf-stream:owner/name:config#image"), ("hf:/home/me/name", "name"),
     ("hf:C:\\me\\name", "name"), ("s3://bucket/secret/train.tar", "train.tar")],
)  # fmt: skip
def test_names_of_data_sets_are_published_without_folders(source, published):
    seen = {"source": source, "held_out": True, "seed": 3, "val_fraction": 0.2}
    told = public_description({"data": {"source": source}, "trained_on": [seen, seen | {"source": "/b/c"}]})
    assert told["data"]["source"] == published
    assert told["trained_on"] == [seen | {"source": published}, seen | {"source": "c"}]


def test_only_listed_metadata_is_published():
    told = public_description({"generator": {"arch": "ugan", "options": {}}, "home": "/root", "config": {"out": "/x"}})
    assert told["generator"]["arch"] == "ugan" and "home" not in told and told["config"] == {}
