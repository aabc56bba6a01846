"""notebooks/colorize_and_fine_tune.ipynb: every cell but the installation, with small settings."""

import json
import re
import shlex

import numpy as np
import pytest
from made_pictures import colourfulness
from PIL import Image

from gancolor import Colorizer

SMALL = {"SQUARE": 200, "SIZE": 32, "BATCH": 4, "EPOCHS": 1, "LPIPS": "off", "RUN": "my run"}


@pytest.fixture(scope="module")
def cells(commands):
    notebook = json.loads((commands.root / "notebooks/colorize_and_fine_tune.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4 and len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_every_cell_runs(commands, cells, tmp_path, monkeypatch):
    """Python is run here, and commands, with IPython's {name}, in the processes of the other tests."""
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    values: dict[str, object] = {}

    def command(line: str) -> None:
        program, *words = shlex.split(line.format_map(values))
        assert program == "gancolor"
        done = commands.start("gancolor/__main__.py", *words, cwd=tmp_path).wait()
        assert done.status == 0, done
        said.append(done.out)

    values["_command"] = command
    tags = [tag for cell in cells for tag in cell["metadata"].get("tags", ())]
    assert tags == ["install", "parameters"]
    for cell in cells:
        source = "".join(cell["source"]).replace("\\\n", "")
        if "install" in cell["metadata"].get("tags", ()):
            assert source.count("%") == 1 and "%pip install" in source
            continue
        code = re.sub(r"^!(.*)$", lambda line: f"_command({line[1]!r})", source, flags=re.MULTILINE)
        exec(code, values)
        if "parameters" in cell["metadata"].get("tags", ()):
            assert SMALL.keys() < values.keys()
            values |= SMALL
    coloured, trained, scores, exported = said
    assert "1 coloured in coloured" in coloured and "generator" in trained and "colourfulness" in scores
    assert "tuned.safetensors" in exported
    assert colourfulness(np.asarray(Image.open("coloured/astronaut.png"))) > 3
    assert len(list((tmp_path / "photographs").iterdir())) > 10
    picture = values["beside"](values["grey"], values["coloured"], values["tuned"](values["grey"]))
    assert picture.size == (3 * 512, 512)
    tuned = Colorizer.load("tuned.safetensors", device="cpu")
    assert np.abs(np.asarray(tuned(values["grey"])).astype(int) - np.asarray(picture)[:, 1024:]).max() <= 2
