"""evaluate.py: scores, compared with references."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import lab2rgb, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import gancolor
from gancolor.models.checkpoint import describe

METRICS = ("psnr", "ssim", "colorfulness")


@pytest.fixture(scope="module")
def runs(commands, finished, tmp_path_factory):
    """Two runs of different architectures on the same photographs."""
    folder = tmp_path_factory.mktemp("runs")
    for arch in ("ugan", "attention_ugan"):
        commands.train(*finished[2], "--data.size", 32, "--arch", arch, "--out", folder / arch).ok()
    return folder / "ugan", folder / "attention_ugan"


@pytest.fixture(scope="module")
def compared(commands, runs, alexnet, tmp_path_factory):
    """Evaluation of two checkpoints that writes every kind of file."""
    folder = tmp_path_factory.mktemp("compared")
    files = "--json", folder / "a" / "figures.json", "--csv", folder / "rows.csv", "--grid", folder / "grid.png"
    checkpoints = runs[0], runs[1] / "generator.safetensors"
    result = commands.evaluate(*checkpoints, *files, "--samples", 3, "--lpips.weights", alexnet, fresh=True)
    return folder, result.ok()


def test_two_checkpoints_side_by_side(compared, runs, read):
    folder, result = compared
    table = result.out.splitlines()
    assert table[0].startswith("6 validation photographs of ") and "32 x 32" in table[0]
    heading = next(line for line in table if "PSNR" in line)
    assert [word for word in ("PSNR", "gain", "SSIM", "LPIPS", "colourfulness") if word in heading] == [
        "PSNR", "gain", "SSIM", "LPIPS", "colourfulness",
    ]  # fmt: skip
    rows = [line.split()[0] for line in table if re.search(r"\d ± \d", line)]
    assert rows == ["grey", "ugan", "attention_ugan", "truth"]
    written = [line for line in table if line.startswith("wrote ")]
    assert written == [f"wrote {folder / name}" for name in ("a/figures.json", "rows.csv", "grid.png")]
    result = read.json(folder / "a" / "figures.json")
    assert result["made"]["left_out"] == {} and len(result["names"]) == 6
    about = {name: result["about"][name] for name in ("ugan", "attention_ugan")}
    assert [found["checkpoint"] for found in about.values()] == [str(run / "generator.safetensors") for run in runs]
    assert about["ugan"]["step"] == 14 and about["ugan"]["options"]["arch"] == "ugan"
    assert result["means"]["ugan"]["lpips"]["mean"] > 0


def test_scores_equal_those_of_the_training_run(compared, runs, read):
    """Compared photograph by photograph."""
    result = read.json(compared[0] / "a" / "figures.json")
    for run in runs:
        own = read.json(run / "results.json")
        assert (own["protocol"], own["files"]) == (result["protocol"], result["files"])
        assert own["samples"]["webp"].items() <= result["samples"]["webp"].items()
        for system, scores in own["scores"].items():
            for metric, values in scores.items():
                assert result["scores"][system][metric] == pytest.approx(values, rel=1e-4, abs=1e-4), (system, metric)


def test_table_means_are_those_of_the_rows(compared, read):
    folder, _ = compared
    rows, means = read.rows(folder / "rows.csv"), read.json(folder / "a" / "figures.json")["means"]
    metrics = (
        "psnr gain ssim lpips mse ciede2000 auc colorfulness colorfulness_difference colorfulness_ddcolor in_gamut"
    )
    assert list(rows[0]) == ["photograph", "class", "system", *metrics.split()]
    photographs = {row["photograph"] for row in rows}
    assert len(photographs) == 6
    assert sorted((row["photograph"], row["system"]) for row in rows) == sorted(
        (photograph, system) for photograph in photographs for system in ("grey", "ugan", "attention_ugan", "truth")
    )
    for system, figures in means.items():
        for metric, figure in figures.items():
            values = np.array([float(row[metric]) for row in rows if row["system"] == system])
            assert values.mean() == pytest.approx(figure["mean"], rel=1e-4, abs=1e-4)
            drawn = values[np.random.default_rng(0).integers(6, size=(20_000, 6))].mean(axis=1)
            low, high = np.quantile(drawn, [0.025, 0.975])
            near = 0.08 * (high - low) + 1e-4
            assert (figure["low"], figure["high"]) == pytest.approx((low, high), abs=near), (system, metric)
    of = {(row["photograph"], row["system"]): row for row in rows}
    for photograph in photographs:
        grey, mine = of[photograph, "grey"], of[photograph, "ugan"]
        assert float(mine["gain"]) == pytest.approx(float(mine["psnr"]) - float(grey["psnr"]), abs=1e-3)
        assert grey["gain"] == "" and float(grey["colorfulness"]) < 0.5
        truth = of[photograph, "truth"]
        assert truth["psnr"] == "" and float(truth["colorfulness"]) > 4


def square(path):
    """Return the photograph's centre square, resized to 32 x 32, as gancolor does it."""
    from gancolor.data.decode import decode, fit_square

    return fit_square(decode(path), 32).permute(1, 2, 0).numpy()


def test_figures_agree_with_scikit_image(compared, runs, photographs, read):
    """The pictures are made without gancolor's colour conversion."""
    generator = gancolor.load_generator(runs[0] / "generator.safetensors")
    for row in read.rows(compared[0] / "rows.csv"):
        if row["system"] not in ("grey", "ugan"):
            continue
        truth = square(photographs / row["photograph"])
        lightness = rgb2lab(truth)[..., 0]
        chroma = np.zeros((32, 32, 2))
        if row["system"] == "ugan":
            seen = torch.tensor(lightness / 50 - 1, dtype=torch.float32)[None, None]
            with torch.inference_mode():
                chroma = generator(seen).chroma[0].permute(1, 2, 0).double().numpy() * 110
        made = np.rint(lab2rgb(np.dstack([lightness, chroma])) * 255).clip(0, 255).astype(np.uint8)
        psnr = peak_signal_noise_ratio(truth, made)
        ssim = structural_similarity(
            truth, made, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        assert float(row["psnr"]) == pytest.approx(psnr, abs=1e-3)
        assert float(row["ssim"]) == pytest.approx(ssim, abs=1e-4)


def test_grid_shows_every_system(compared):
    with Image.open(compared[0] / "grid.png") as grid:
        assert grid.format == "PNG" and 3 * 128 <= grid.size[0] < 4 * 128 and 4 * 128 <= grid.size[1] < 6 * 128


def test_lpips_is_left_out_without_its_weights(commands, finished, read, tmp_path):
    options = "--data.size", 32, "--json", tmp_path / "figures.json"
    result = commands.evaluate(finished[0], *options).ok()
    (line,) = [line for line in result.out.splitlines() if line.startswith("LPIPS left out: ")]
    assert "alexnet-owt-7be5be79.pth" in line and str(commands.home / "torch") in line and "--lpips.weights" in line
    scored = read.json(tmp_path / "figures.json")
    assert scored["made"]["left_out"] == {"LPIPS": line.removeprefix("LPIPS left out: ")}
    assert "psnr" in scored["means"]["ugan"] and "lpips" not in scored["means"]["ugan"]


def test_run_state_is_scored_on_another_folder_and_size(commands, finished, draw, read, tmp_path):
    """All photographs of a folder that the run has not seen are scored."""
    unseen = draw(tmp_path / "unseen", 5, seed=9)
    options = "--data.size", 24, "--lpips.weights", "off", "--csv", tmp_path / "rows.csv"
    result = commands.evaluate(finished[0] / "last.safetensors", "--data.source", unseen, *options).ok()
    (protocol,) = [line for line in result.out.splitlines() if line.startswith("5 photographs (all) of ")]
    assert "protocol native" in protocol and "24 x 24" in protocol
    assert "LPIPS" not in result.out
    assert len(read.rows(tmp_path / "rows.csv")) == 5 * 3
    limited = commands.evaluate(finished[0], "--data.source", unseen, *options, "--data.val_limit", 2).ok()
    assert "2 photographs (all) of " in limited.out


def test_unfinished_run_is_scored_by_its_best(commands, finished, read, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("best", "last"):
        (run / f"{name}.safetensors").symlink_to(finished[0] / f"{name}.safetensors")
    commands.evaluate(run, "--lpips.weights", "off", "--json", tmp_path / "figures.json").ok()
    about = read.json(tmp_path / "figures.json")["about"]["ugan"]
    assert about["checkpoint"] == str(run / "best.safetensors")


def test_scores_do_not_depend_on_the_batch_size(commands, finished, read, tmp_path):
    for batch in (1, 4):
        out = tmp_path / f"{batch}.json"
        commands.evaluate(finished[0], "--lpips.weights", "off", "--json", out, "--batch_size", batch).ok()
    one, four = (read.json(tmp_path / f"{batch}.json")["scores"] for batch in (1, 4))
    for system in one:
        for metric in one[system]:
            assert one[system][metric] == pytest.approx(four[system][metric], rel=1e-4, abs=1e-4)


def test_damaged_photographs_do_not_depend_on_the_batch_size(commands, finished, photographs, read, tmp_path):
    """What the systems see is damaged, the same for all of them and every time; what is scored is the photograph. The
    grey baseline and the truth are those of clean photographs."""
    twin = tmp_path / "twin.safetensors"
    twin.write_bytes((finished[0] / "generator.safetensors").read_bytes())
    options = ["--data.source", photographs, "--lpips.weights", "off"]
    for name, words in {
        "clean": ["--protocol", "scenes128"],
        "old": ["--protocol", "old128", "--grid", tmp_path / "old.png", "--samples", 3],
        "one": ["--protocol", "old128", "--batch_size", 1, "--data.val_limit", 5],
    }.items():
        result = commands.evaluate(finished[0], twin, *options, *words, "--json", tmp_path / f"{name}.json").ok()
        assert ("systems see lightness with simulated damage" in result.out) == (name != "clean")
    clean, old, one = (read.json(tmp_path / f"{name}.json") for name in ("clean", "old", "one"))
    assert "film insensitive to red" in old["protocol"]["seen"] and "seen" not in clean["protocol"]
    assert clean["files"] == old["files"]
    for baseline in ("grey", "truth"):
        assert clean["scores"][baseline] == old["scores"][baseline]
    first, second = (name for name in old["scores"] if name not in ("grey", "truth"))
    assert old["scores"][first] == old["scores"][second]
    assert clean["scores"][first]["psnr"] != old["scores"][first]["psnr"]
    places = [old["names"].index(name) for name in one["names"]]
    assert len(places) == 5
    for metric, values in one["scores"][first].items():  # rounding moves single pixels over AuC's thresholds
        expected = [old["scores"][first][metric][place] for place in places]
        assert values == pytest.approx(expected, rel=1e-4, abs=5e-4), metric
    with Image.open(tmp_path / "old.png") as grid:  # rows: the systems' input, grey, two systems, truth
        assert 5 * 128 <= grid.size[1] < 5 * 160


def test_training_with_lpips_logs_it_and_chooses_the_best_by_it(commands, alexnet, finished, read, tmp_path):
    lpips = "--lpips.weights", alexnet, "--eval.best_metric", "lpips", "--data.size", 32
    commands.train(*finished[2], *lpips, "--out", tmp_path / "run").ok()
    validations = read.validations(tmp_path / "run")
    adversarial = [line for line in validations if line["step"] > 4]
    best = min(adversarial, key=lambda line: line["val/lpips"])
    assert describe(tmp_path / "run" / "best.safetensors")["step"] == best["step"]
    scored = tmp_path / "figures.json"
    commands.evaluate(tmp_path / "run", "--lpips.weights", alexnet, "--json", scored).ok()
    figure = read.json(scored)["means"]["ugan"]["lpips"]["mean"]
    assert figure == pytest.approx(validations[-1]["val/lpips"], rel=1e-4)


def test_lpips_is_left_out_for_small_pictures_or_missing_weights(commands, alexnet, finished):
    """The other metrics are still computed; if LPIPS was requested explicitly, the exit status is 1."""
    small = "LPIPS needs pictures of 31 pixels or more"
    for size, weights, reason, status in (
        (30, "auto", small, 0), (30, alexnet, small, 1), (32, "no/such.pth", "no/such.pth: no such file", 1),
        (31, alexnet, "", 0),
    ):  # fmt: skip
        result = commands.evaluate(finished[0], "--data.size", size, "--lpips.weights", weights)
        assert (result.status, result.err) == (status, "") and "grey " in result.out
        assert ("LPIPS left out: " in result.out) == bool(reason) and reason in result.out
