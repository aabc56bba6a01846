"""evaluate.py: protocols, and folders of pictures that other tools made."""

import re
import shlex
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import gancolor
from gancolor.data.decode import decode, fit_square
from gancolor.evaluation.scoring import colorize

OFF = ["--lpips.weights", "off"]


def same_scores(one: dict, other: dict) -> None:
    assert one and one.keys() - {"in_gamut"} == other.keys() - {"in_gamut"}
    for metric in one.keys() & other.keys():
        assert one[metric] == other[metric], metric


@pytest.fixture(scope="module")
def wide(draw, tmp_path_factory):
    """Photographs of 60 x 40 in two classes, four each."""
    folder = tmp_path_factory.mktemp("wide")
    for seed, name in ((1, "cats"), (2, "dogs")):
        for path in draw(folder / name, 4, size=60, seed=seed).iterdir():
            Image.open(path).crop((0, 0, 60, 40)).save(path, quality=95)
    return folder


# Pictures of other tools ------------------------------------------------------------------------------------------


def test_perfect_pictures_score_100_db(commands, photographs, read, tmp_path):
    """The predictions are the ground truth, in folders with other names."""
    made = shutil.copytree(photographs, tmp_path / "made" / "by a=tool")
    options = ["--data.source", photographs, "--data.size", 32, *OFF, "--json", tmp_path / "result.json"]
    result = commands.evaluate("--predictions", f"the tool={made}", *options).ok()
    assert "20 photographs (all) of " in result.out and re.search(r"^the tool +100\.00 ± 0\.00 ", result.out, re.M)
    content = read.json(tmp_path / "result.json")
    about = content["about"]["the tool"]
    assert about["pictures"] == str(made) and len(about["sha256"]) == 64 and len(content["names"]) == 20
    means = {metric: mean["mean"] for metric, mean in content["means"]["the tool"].items()}
    assert (means["psnr"], means["mse"], means["ciede2000"], means["auc"]) == (100, 0, 0, 100)
    assert means["ssim"] == pytest.approx(1) and means["colorfulness_difference"] == 0 and "in_gamut" not in means
    assert means["colorfulness"] == content["means"]["truth"]["colorfulness"]["mean"]


def test_saved_predictions_score_like_the_generator(commands, finished, photographs, read, tmp_path):
    """Saved as PNG, at the size of training, under the photographs' names."""
    run, _, _ = finished
    generator = gancolor.load_generator(run / "generator.safetensors")
    (tmp_path / "made").mkdir()
    for path in photographs.iterdir():
        truth = fit_square(decode(path), 16)
        with torch.inference_mode():
            made = colorize(generator, truth[None]).pictures[0]
        Image.fromarray(made.permute(1, 2, 0).numpy()).save(tmp_path / "made" / f"{path.stem}.png")
    words = ["--predictions", f"saved={tmp_path / 'made'}", *OFF, "--json", tmp_path / "result.json"]
    result = commands.evaluate(run, *words).ok()
    assert "saved: 6 of 6 pictures of another size than the photographs, resized like them" in result.out
    assert re.search(
        r"^(ugan - saved|saved - ugan): [+-]0\.00 dB \[[+-]0\.00, [+-]0\.00\]: not significant$", result.out, re.M
    )
    scores = read.json(tmp_path / "result.json")["scores"]
    same_scores(scores["ugan"], scores["saved"])


def test_photographs_missing_from_a_tool_are_left_out_for_all(commands, finished, photographs, read, tmp_path):
    run, _, _ = finished
    held_out = read.json(run / "photographs.json")["split"]["val"]
    for name, lacking in (("one", held_out[:1]), ("two", held_out[1:3])):
        shutil.copytree(photographs, tmp_path / name, ignore=shutil.ignore_patterns(*lacking))
    (tmp_path / "two" / held_out[3]).write_bytes((photographs / held_out[3]).read_bytes()[:500])
    folders = [word for name in ("one", "two") for word in ("--predictions", f"{name}={tmp_path / name}")]
    result = commands.evaluate(run, *folders, *OFF, "--json", tmp_path / "result.json").ok()
    lines = result.out.splitlines()
    assert f"one lacks 1 of 6, left out for all systems: {held_out[0]} (no picture with its name)" in lines
    (line,) = [line for line in lines if line.startswith("two lacks 3 of 6, left out for all systems: ")]
    assert all(name in line for name in held_out[1:4]) and "truncated" in line
    assert any(line.startswith("2 validation photographs of ") for line in lines)
    content = read.json(tmp_path / "result.json")
    assert sorted(content["names"]) == sorted(held_out[4:])
    assert {len(values) for scores in content["scores"].values() for values in scores.values()} == {2}
    assert content["scores"]["one"]["psnr"] == content["scores"]["two"]["psnr"] == [100, 100]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--predictions nothing RUN", ["--predictions nothing", "write NAME=DIR"]),
        ("--predictions =made RUN", ["--predictions =made", "write NAME=DIR"]),
        ("--predictions tool= RUN", ["--predictions tool=", "write NAME=DIR"]),
        ("--predictions tool=no/such RUN", ["--predictions tool=no/such", "no such folder"]),
        ("--predictions grey=PHOTOS RUN", ["--predictions grey=", "baseline"]),
        ("--predictions ugan=PHOTOS RUN", ["two systems have the name ugan"]),
        ("--predictions a=PHOTOS --predictions a=PHOTOS RUN", ["--predictions a=", "name is given twice"]),
        ("--predictions tool=RUN/samples RUN", ["none of its pictures matches a photograph", "file name"]),
        ("--predictions tool=PHOTOS --data.source PHOTOS", ["without a checkpoint, give --data.size"]),
        ("--predictions tool=PHOTOS --data.size 32", ["without a checkpoint, give --data.source"]),
        ("--protocol scenes128 --data.size 64 RUN", ["--protocol scenes128", "128", "leave out --data.size"]),
        ("--protocol old128 --predictions tool=PHOTOS RUN", ["--predictions", "--protocol old128", "another protocol"]),
        ("--protocol imagenet RUN", ["--protocol", "imagenet", "val5k-crop256"]),
    ],
)
def test_invalid_predictions_give_a_one_line_error(commands, finished, photographs, options, named):
    words = options.replace("RUN", str(finished[0])).replace("PHOTOS", str(photographs))
    commands.evaluate(*shlex.split(words)).refusal(*named)


def test_tools_that_have_no_photograph_in_common_are_refused(commands, photographs, tmp_path):
    for name in ("000.jpg", "001.jpg"):
        (tmp_path / name[:3]).mkdir()
        shutil.copy(photographs / name, tmp_path / name[:3])
    folders = [word for name in ("000", "001") for word in ("--predictions", f"{name}={tmp_path / name}")]
    refused = commands.evaluate(*folders, "--data.source", photographs, "--data.size", 16)
    refused.refusal("no photograph has a picture in each of 000, 001")


# Protocols --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "size"), [("val5k-crop256", 256), ("squash256", 256), ("scenes128", 128), ("tiny64", 64)]
)
def test_each_protocol_scores_at_its_size(commands, finished, wide, read, tmp_path, protocol, size):
    words = ["--data.source", wide, "--protocol", protocol, *OFF, "--json", tmp_path / "result.json"]
    result = commands.evaluate(finished[0], *words, "--predictions", f"truth itself={wide}").ok()
    assert f"8 photographs (all) of {wide}; protocol {protocol}: " in result.out and f"{size} x {size}" in result.out
    content = read.json(tmp_path / "result.json")
    assert (content["protocol"]["name"], content["protocol"]["size"]) == (protocol, size)
    assert ("squashed" in content["protocol"]["resizing"]) == (protocol == "squash256")
    assert set(content["scores"]["truth itself"]["psnr"]) == {100}
    order = [name.rpartition("/")[2] for name in content["names"]]
    assert (order == sorted(order)) == (protocol == "val5k-crop256")


def test_squashed_and_cropped_photographs_score_differently(commands, finished, wide, read, tmp_path):
    for protocol in ("squash256", "val5k-crop256"):
        words = ["--protocol", protocol, "--data.val_limit", 4, *OFF, "--json", tmp_path / f"{protocol}.json"]
        commands.evaluate(finished[0], "--data.source", wide, *words).ok()
    squashed, cropped = (read.json(tmp_path / f"{name}.json") for name in ("squash256", "val5k-crop256"))
    assert squashed["files"] == cropped["files"]
    assert squashed["means"]["truth"] != cropped["means"]["truth"]


def test_figures_of_each_class_are_those_of_its_rows(commands, finished, wide, read, tmp_path):
    rows = tmp_path / "rows.csv"
    options = ["--data.source", wide, "--data.size", 32, "--by_class", "--csv", rows, *OFF]
    result = commands.evaluate(finished[0], *options).ok()
    tables = [[re.split(r"  +", line) for line in block.splitlines()] for block in result.out.split("\n\n")[1:]]
    for table, heading, metric in zip(tables, ("gain [dB]", "colourfulness"), ("gain", "colorfulness"), strict=True):
        assert table[0][:2] == [heading, "photographs"] and [row[0] for row in table[2:4]] == ["cats", "dogs"]
        for row in table[2:4]:
            assert row[1] == "4"
            for system, said in zip(table[0][2:], row[2:], strict=True):
                of = [found for found in read.rows(rows) if (found["class"], found["system"]) == (row[0], system)]
                mean = np.mean([float(found[metric]) for found in of])
                assert len(of) == 4 and float(said.split(" ± ")[0]) == pytest.approx(mean, abs=0.051)
    assert tables[0][0][2:] == ["ugan"] and tables[1][0][2:] == ["grey", "ugan", "truth"]


def test_photographs_in_no_folders_have_no_classes(commands, finished):
    result = commands.evaluate(finished[0], "--by_class", *OFF).ok()
    assert "--by_class: these photographs have no classes, because they are not in subfolders" in result.out


@pytest.mark.parametrize(
    ("weights", "named", "status"),
    [("auto", "weights-inception-2015-12-05-6726825d.pth", 1), ("no/such.pth", "no/such.pth: no such file", 1)],
)
def test_fid_is_left_out_without_its_weights(commands, finished, weights, named, status):
    result = commands.evaluate(finished[0], "--fid.weights", weights, *OFF, https_proxy="http://127.0.0.1:9")
    assert (result.status, result.err) == (status, "")
    assert "FID" not in next(line for line in result.out.splitlines() if "PSNR" in line)
    (line,) = [line for line in result.out.splitlines() if line.startswith("FID and KID left out: ")]
    assert named in line
