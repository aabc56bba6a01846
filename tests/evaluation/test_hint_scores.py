"""Scores by the number of colour hints."""

import json

import pytest
import torch
from made_generators import made_generator
from PIL import Image
from scored import Colorist, photographs_of
from torch import Tensor, nn

from gancolor.evaluation.hint_scores import hint_table, parse_numbers, score_hints
from gancolor.evaluation.results import load_result
from gancolor.evaluation.scoring import GREY, as_system, score, score_generator
from gancolor.models.output import GeneratorOutput
from gancolor.utils.errors import InputError
from gancolor.utils.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "fp32")


class Obedient(nn.Module):
    """Generator that colours what hints show, and leaves the rest grey."""

    takes_hints = True

    def forward(self, lightness: Tensor, hints: Tensor | None = None) -> GeneratorOutput:
        return GeneratorOutput(torch.zeros_like(lightness).expand(-1, 2, -1, -1) if hints is None else hints[:, :2])


def scored(generators, photographs, numbers):
    systems = {"grey": GREY, **{name: as_system(generator) for name, generator in generators.items()}}
    automatic, _ = score(systems, photographs, CPU)
    sizes = dict.fromkeys(generators, photographs.size)
    found = score_hints(
        generators, automatic, automatic["grey"], numbers, photographs, CPU, 3, {}, lambda *_: None, sizes
    )
    return automatic, found


def test_numbers_are_parsed_in_order_with_zero():
    assert parse_numbers("10, 1,2") == [0, 1, 2, 10] and parse_numbers("0") == [0]


@pytest.mark.parametrize("text", ["", "1,x", "-1", "1.5", "1001", "1,,2"])
def test_other_numbers_are_refused(text):
    with pytest.raises(InputError, match="give numbers of hints from 0 to 1000"):
        parse_numbers(text)


def test_more_hints_show_more_and_the_gain_is_over_no_hints(scenes):
    photographs = photographs_of(scenes)
    automatic, found = scored({"obedient": Obedient()}, photographs, [0, 1, 30])
    none, one, many = (found["obedient"][number] for number in (0, 1, 30))
    assert none["psnr"].mean == pytest.approx(automatic["obedient"]["psnr"].mean().item())
    assert none["over_automatic"].mean == 0
    assert 0 < one["over_automatic"].mean < many["over_automatic"].mean
    for row in (one, many):
        assert row["psnr"].mean - none["psnr"].mean == pytest.approx(row["over_automatic"].mean, abs=1e-4)
        assert row["gain"].mean == pytest.approx(row["psnr"].mean - automatic["grey"]["psnr"].mean().item(), abs=1e-4)
    assert many["colorfulness"].mean > one["colorfulness"].mean


def test_generators_without_hints_are_scored_as_the_colorizer_uses_them(scenes):
    photographs = photographs_of(scenes)
    automatic, found = scored({"plain": Colorist(0.1, 0.1)}, photographs, [0, 5])
    assert found["plain"][5]["over_automatic"].mean > 0
    assert automatic["plain"]["psnr"].mean() == pytest.approx(found["plain"][0]["psnr"].mean)


def test_score_generator_gives_hints(scenes):
    photographs = photographs_of(scenes)
    few, many = (score_generator(Obedient(), photographs, CPU, hints=n)["psnr"].mean() for n in (0, 20))
    assert many > few


def test_table_has_a_row_for_each_number(scenes):
    _, found = scored({"obedient": Obedient()}, photographs_of(scenes), [0, 1])
    heading, rule, *rows = hint_table(found["obedient"]).splitlines()
    assert heading.split("  ")[0] == "hints" and "PSNR over automatic [dB]" in heading and "LPIPS" not in heading
    assert set(rule) == {"-"} and [row.split()[0] for row in rows] == ["0", "1"]


def test_evaluate_prints_and_keeps_the_scores(scenes, tmp_path, monkeypatch, capsys):
    from gancolor.evaluation.command import run_evaluate

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = made_generator(tmp_path / "g.safetensors", hints=True)
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number, picture in enumerate(scenes):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    about = ["--data.source", str(folder), "--data.size", "32", "--lpips.weights", "off"]
    monkeypatch.setattr("gancolor.evaluation.evaluator.describe_generator", lambda *_: {"sha256": "1"})
    assert run_evaluate([str(path), *about, "--hints", "0,3", "--json", str(tmp_path / "r.json")]) == 0
    said = capsys.readouterr().out
    assert "ugan, by the number of random hints:\nhints " in said
    result = load_result(tmp_path / "r.json")
    assert list(result.systems["ugan"].hints) == [0, 3] and result.systems["grey"].hints == {}
    assert result.systems["ugan"].hints[0]["psnr"].mean == pytest.approx(
        result.systems["ugan"].means["psnr"].mean, abs=1e-4
    )
    assert set(json.loads((tmp_path / "r.json").read_text())["hints"]) == {"ugan"}
