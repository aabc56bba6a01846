from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from PIL import Image

from gancolor.choices import ProtocolName
from gancolor.color.torch_lab import rgb_to_lab, to_float
from gancolor.data.cache.photographs import load_photographs
from gancolor.data.catalogue import PhotoFile, shuffled
from gancolor.data.sources.demo import draw_scene
from gancolor.data.sources.folders import list_photographs
from gancolor.evaluation.protocols import PROTOCOLS


def items(*names: str) -> list[PhotoFile]:
    return [PhotoFile(Path(name), name) for name in names]


def names(chosen) -> list[str]:
    return [item.name for item in chosen]


IMAGENET = items(
    "n02/ILSVRC2012_val_00000003.JPEG", "n01/ILSVRC2012_val_00000001.JPEG", "n03/ILSVRC2012_val_00000002.JPEG",
    "n01/ILSVRC2012_val_00000004.JPEG",
)  # fmt: skip


def test_every_name_that_is_offered_is_a_protocol():
    assert tuple(PROTOCOLS) == get_args(ProtocolName)


def test_first_5000_are_by_the_files_own_names_whatever_their_folders():
    protocol = PROTOCOLS["val5k-crop256"]
    assert (protocol.limit, protocol.size, protocol.fit, protocol.order) == (5000, 256, "crop", "names")
    assert [name[-6:-5] for name in names(protocol.choose(IMAGENET))] == ["1", "2", "3", "4"]
    assert [name[-6:-5] for name in names(replace(protocol, limit=2).choose(IMAGENET))] == ["1", "2"]
    same = items("b/one.jpg", "a/one.jpg", "c/none.jpg")
    assert names(replace(protocol, limit=2).choose(same)) == ["c/none.jpg", "a/one.jpg"]


def test_shuffled_limit_is_the_seeded_one_and_without_a_limit_all_are_taken_as_they_come():
    many = items(*(f"{number}.jpg" for number in range(300)))
    chosen = PROTOCOLS["tiny64"].choose(many)
    assert names(chosen) == names(shuffled(many, 0)[:200]) == names(PROTOCOLS["tiny64"].choose(many[::-1]))
    for name in ("native", "squash256", "scenes128", "old128"):
        assert PROTOCOLS[name].choose(IMAGENET) == IMAGENET


def test_descriptions_tell_protocols_apart_and_sizes():
    said = [str(protocol.describe(protocol.size or 256)) for protocol in PROTOCOLS.values()]
    assert len(set(said)) == len(said)
    native = PROTOCOLS["native"].describe(96)
    assert native["size"] == 96 and native["photographs"] == "all" and "centre" in native["resizing"]
    assert "squashed" in PROTOCOLS["squash256"].describe(256)["resizing"]
    assert PROTOCOLS["tiny64"].describe(64)["photographs"] == "the first 200 by shuffle"
    clean, old = (PROTOCOLS[name].describe(128) for name in ("scenes128", "old128"))
    seen = old.pop("seen")
    assert old == clean and "strength 1" in seen and "undamaged" in seen


def test_only_old128_damages_what_systems_see(scenes):
    seen = {name: protocol.seen(scenes, list("abcd")) for name, protocol in PROTOCOLS.items()}
    assert [name for name, lightness in seen.items() if lightness is not None] == ["old128"]
    lightness, _ = rgb_to_lab(to_float(scenes))
    assert seen["old128"].shape == lightness.shape and seen["old128"].abs().max() <= 1
    assert ((seen["old128"] - lightness).abs().mean(dim=(1, 2, 3)) > 0.03).all()


def test_damage_of_a_photograph_is_the_same_in_every_batch(scenes):
    """Also where others are left out; and each photograph has its own."""
    protocol, names = PROTOCOLS["old128"], ["one.jpg", "two/one.jpg", "three.jpg", "four.jpg"]
    whole = protocol.seen(scenes, names)
    assert torch.equal(whole, protocol.seen(scenes, names))
    for number, name in enumerate(names):
        alone = protocol.seen(scenes[number : number + 1], [name])
        assert torch.allclose(alone, whole[number : number + 1], atol=1e-6)
    same = protocol.seen(scenes[:1].expand(2, -1, -1, -1), names[:2])
    assert (same[0] - same[1]).abs().mean() > 0.01


@pytest.fixture
def wide(tmp_path):
    """A photograph 90 x 30, red to the left, green in the middle, blue to the right."""
    picture = Image.new("RGB", (90, 30), "green")
    picture.paste("red", (0, 0, 30, 30))
    picture.paste("blue", (60, 0, 90, 30))
    picture.save(tmp_path / "wide.png")
    Image.fromarray(draw_scene(3, 1, 48)).save(tmp_path / "square.png")
    return list_photographs(tmp_path)


def test_squashed_photographs_are_whole_and_cropped_ones_their_centre(wide, tmp_path):
    cropped, squashed = (load_photographs(wide, 30, tmp_path / "cache", fit=fit) for fit in ("crop", "squash"))
    assert cropped.digest != squashed.digest and cropped.contents_digest == squashed.contents_digest
    assert cropped.names == squashed.names == ["square.png", "wide.png"]
    assert torch.equal(cropped.pictures[0], squashed.pictures[0])
    colours = squashed.pictures[1].float().mean(dim=1)  # (3, 30), from left to right
    assert colours.argmax(dim=0)[[3, 15, 26]].tolist() == [0, 1, 2]
    assert (cropped.pictures[1].argmax(dim=0) == 1).all()
    again = load_photographs(wide, 30, tmp_path / "cache", fit="squash")
    assert torch.equal(again.pictures, squashed.pictures)  # each fit has its own cache
