import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_files import files, save
from made_pictures import scene

EXAMPLE = Path(__file__).parents[2] / "examples/ray_data.py"
# Ray's dashboard takes a third of the test's time.
WITHOUT_DASHBOARD = f"""
import ray, runpy
ray.init(include_dashboard=False)
runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")
"""


def test_the_recipe_for_a_cluster(tmp_path: Path, onnx_checkpoint: Path) -> None:
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install 'ray[data]'")
    place, out = tmp_path / "in", tmp_path / "out"
    (place / "x").mkdir(parents=True)
    for name in ("a.jpg", "b.png", "x/c.jpg"):
        save(place / name, scene(32, 48))
    (place / "bad.jpg").write_text("words")
    out.mkdir()
    (out / "a.jpg").write_text("done before")
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_DASHBOARD, str(place), "--out", str(out), "--checkpoint", str(onnx_checkpoint),
         "--batch", "2"],
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    assert f"3 coloured, 1 not: {out}/table.csv" in ran.stdout
    assert files(out) == ["a.jpg", "b.png", "table.csv", "x/c.jpg"]
    assert (out / "a.jpg").read_text() == "done before"
    with (out / "table.csv").open() as file:
        rows = {Path(row["source"]).name: row for row in csv.DictReader(file)}
    assert rows.keys() == {"a.jpg", "b.png", "bad.jpg", "c.jpg"}
    assert rows["c.jpg"]["target"] == str(out / "x/c.jpg")
    assert [name for name, row in rows.items() if row["problem"]] == ["bad.jpg"]
