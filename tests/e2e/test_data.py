"""Training and evaluation on messy folders of photographs."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def mixed(draw, tmp_path_factory):
    """Folder with one file of every kind."""
    folder = draw(tmp_path_factory.mktemp("mixed") / "photographs", 8)
    truncated = (folder / "000.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(truncated[: len(truncated) // 2])
    (folder / "text.jpg").write_text("a shopping list")
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no photograph")
    (folder / ".hidden.jpg").write_bytes(truncated)
    scene = Image.open(folder / "001.jpg")
    scene.convert("CMYK").save(folder / "cmyk.jpg")
    scene.convert("RGBA").save(folder / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    scene.save(folder / "rotated.jpg", exif=exif)
    frames = [scene.rotate(angle) for angle in (0, 90)]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    scene.convert("L").save(folder / "grey.jpg")
    Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40).save(folder / "sixteen.png")
    return folder


def test_mixed_folder_trains_and_lists_what_was_left_out(commands, mixed, read, tmp_path):
    result = commands.tiny(tmp_path, "--data.source", mixed, "--epochs", "1").ok()
    listing = read.json(tmp_path / "photographs.json")
    undecodable = listing["train"]["left_out_as_undecodable"] | listing["val"]["left_out_as_undecodable"]
    assert set(undecodable) == {"truncated.jpg", "text.jpg", "empty.png"}
    assert undecodable["text.jpg"].startswith("not a picture") and "truncated" in undecodable["truncated.jpg"]
    grey = set(listing["train"]["left_out_as_grey"])
    everything = {path.name for path in mixed.iterdir()} - {"notes.txt", ".hidden.jpg"}
    in_train = everything - set(undecodable) - set(listing["split"]["val"])
    assert grey == {"grey.jpg", "sixteen.png"} & in_train and grey
    assert listing["train"]["used"] == len(in_train) - len(grey)
    all_grey = grey | set(listing["val"]["left_out_as_grey"])
    assert all_grey == {"grey.jpg", "sixteen.png"}
    assert f"left out: {len(all_grey) + len(undecodable)} photographs, grey or undecodable (such as " in result.out


def test_mixed_folder_is_scored_and_lists_what_was_left_out(commands, finished, mixed, read, tmp_path):
    rows = tmp_path / "rows.csv"
    result = commands.evaluate(finished[0], "--data.source", mixed, "--lpips.weights", "off", "--csv", rows).ok()
    assert "3 more can't be decoded: " in result.out
    assert "2 more left out for all systems as grey: " in result.out
    assert len({row["photograph"] for row in read.rows(rows)}) == 12


def test_train_and_val_folders_are_kept_as_split(commands, draw, read, tmp_path):
    draw(tmp_path / "set" / "train" / "cats", 4)
    draw(tmp_path / "set" / "train" / "dogs", 4, seed=8)
    draw(tmp_path / "set" / "val" / "cats", 3, seed=9)
    commands.tiny(tmp_path / "run", "--data.source", tmp_path / "set", "--epochs", "0.5").ok()
    listing = read.json(tmp_path / "run" / "photographs.json")
    assert listing["train"]["used"] == 8 and listing["val"]["used"] == 3
    assert listing["classes"] == ["cats", "dogs"] and "split" not in listing


def test_second_start_reads_the_cache(commands, draw, tmp_path):
    """Damaged originals no longer matter; a changed folder is decoded again."""
    folder = draw(tmp_path / "photographs", 6)
    cache = tmp_path / "cache"
    options = "--data.source", folder, "--data.cache", cache, "--epochs", "0.5"
    commands.tiny(tmp_path / "one", *options).ok()
    kept = {path.name for path in cache.iterdir() if path.is_dir()}
    commands.tiny(tmp_path / "two", *options).ok()
    assert {path.name for path in cache.iterdir() if path.is_dir()} == kept and len(kept) == 1
    draw(folder, 7)
    commands.tiny(tmp_path / "three", *options).ok()
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 2


def test_file_names_with_spaces_and_accents(commands, draw, tmp_path):
    folder = draw(tmp_path / "mes été – photos", 4)
    (folder / "000.jpg").rename(folder / "grün, 1.JPEG")
    run = tmp_path / "out put"
    commands.tiny(run, "--data.source", folder, "--epochs", "1").ok()
    commands.evaluate(run, "--lpips.weights", "off", "--csv", run / "a b.csv").ok()


# Training that goes wrong.


@pytest.mark.parametrize(
    "options", [["--optim.lr_pretrain", "1e30", "--pretrain_epochs", "2"], ["--optim.lr_g", "1e30"]]
)
def test_non_finite_loss_stops_the_run(commands, read, tmp_path, options):
    result = commands.tiny(tmp_path, *options, "--checkpoint_every", "1")
    line = result.refusal("is not finite", "last good checkpoint", "--optim.clip", status=1)
    assert any(f"{name} " in line or f"{name}." in line for name in ("l1", "gan", "discriminator", "gradient"))
    assert " of step " in line
    if (tmp_path / "last.safetensors").exists():
        assert str(tmp_path / "last.safetensors") in line
    read.everything(tmp_path)
    assert not (tmp_path / "generator.safetensors").exists()


def test_non_finite_loss_stops_a_run_of_few_steps(commands, tmp_path):
    result = commands.tiny(tmp_path, "--optim.lr_g", "1e30", "--epochs", "0.16")
    result.refusal("is not finite", status=1)
