"""Refusals before photographs are scored."""

import re

import pytest

from gancolor.config.evaluate import EvaluateConfig
from gancolor.evaluation.option_checks import check_options
from gancolor.utils.errors import InputError


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"json": "a.json", "csv": "a.json"}, "--json and --csv name the same file, a.json: give them two names"),
        ({"csv": "a.png", "grid": "b/../a.png"}, "--csv and --grid name the same file, b/../a.png: give them"),
        ({"grid": "grid.jpg"}, "--grid grid.jpg: a grid is a PNG file; end its name in .png"),
        ({"hints": "0,1"}, "--hints is for generators, and only other tools' pictures are scored: leave it out"),
        ({"input_size": 64}, "--input_size is for generators"),
        ({"strength": 1.5}, "--strength is for generators"),
        ({"json": "."}, "--json .: it is a folder"),
    ],
)
def test_contradictory_options_are_refused(tmp_path, monkeypatch, options, match):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(match)):
        check_options(EvaluateConfig(predictions=["tool=made"], **options))


def test_other_options_are_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_options(EvaluateConfig(predictions=["tool=made"], json="a.json", csv="a.csv", grid="new/grid.PNG"))
    check_options(EvaluateConfig(checkpoints=["run"], hints="0,1", input_size=64, strength=1.5, grid="grid"))
    assert (tmp_path / "new").is_dir()
