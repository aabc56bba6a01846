import sys
from dataclasses import replace

import peers
import pytest
import torch
from step_runners import StepSpec

from gancolor.utils.errors import InputError

SPEC = StepSpec("ugan", 16, 4, "cpu", 1.0)
CODE = {
    "loss.py": "WEIGHT = 100.0\n",
    "models.py": """
import torch
from torch import nn
from loss import WEIGHT

def init_model(network, device):
    print("initialized")
    return network.to(device)

class Unet(nn.Module):
    def __init__(self, n_down):
        super().__init__()
        self.levels, self.layer = n_down, nn.Conv2d(1, 2, 1)

    def forward(self, lightness):
        return torch.tanh(self.layer(lightness))

class MainModel(nn.Module):
    def __init__(self, net_G):
        super().__init__()
        self.net_G, self.taken = net_G, []

    def setup_input(self, data):
        self.data = data

    def optimize(self):
        self.taken.append((self.data["L"].shape, self.data["ab"].shape, WEIGHT, self.net_G.levels))
        MainModel.last = self
""",
    "dataset.py": """
import torch

SIZE = 256

def make_dataloaders(batch_size, n_workers, pin_memory, paths, split):
    pictures = {"L": torch.zeros(batch_size, 1, SIZE, SIZE), "ab": torch.zeros(batch_size, 2, SIZE, SIZE)}
    return [pictures | {"given": ([path.name for path in paths], split)}]
""",
}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    for name, code in CODE.items():
        (tmp_path / name).write_text(code)
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    yield tmp_path
    for name in CODE:
        sys.modules.pop(name.removesuffix(".py"), None)


def test_a_peer_is_imported_from_its_checkout(checkout, photos, capsys):
    before = list(sys.path)
    peer = peers.load_peer("notebook", checkout, photos, SPEC)
    peer.step(torch.zeros(4, 1, 16, 16), torch.zeros(4, 2, 16, 16))
    taken = sys.modules["models"].MainModel.last.taken
    assert taken == [((4, 1, 16, 16), (4, 2, 16, 16), 100.0, 4)]
    (loaded,) = peer.loader
    assert loaded["given"] == (sorted(path.name for path in photos.iterdir()), "train")
    assert [loaded[key].shape for key in peer.keys] == [(4, 1, 16, 16), (4, 2, 16, 16)]
    assert peer.generator is sys.modules["models"].MainModel.last.net_G
    assert sys.path == before
    said = capsys.readouterr()
    assert "initialized" in said.err and not said.out  # only the tables go to standard output


@pytest.mark.parametrize("name", peers.PEERS)
def test_wrong_checkout_path_gives_a_one_line_error(name, tmp_path, photos):
    with pytest.raises(InputError, match="no such folder"):
        peers.load_peer(name, tmp_path / "none", photos, SPEC)
    with pytest.raises(InputError, match=f"no checkout of {name}, it lacks .*models"):
        peers.load_peer(name, tmp_path, photos, SPEC)


def test_missing_package_of_a_peer_is_named(checkout, photos):
    (checkout / "loss.py").write_text("import a_module_that_nobody_has\n")
    with pytest.raises(InputError, match="--peer notebook needs a_module_that_nobody_has"):
        peers.load_peer("notebook", checkout, photos, SPEC)


def test_gains_of_both_trainers_after_equal_times(checkout, photos, monkeypatch, capsys):
    monkeypatch.setattr(peers, "LOOKS", 2)
    words = ("--generator.width", "8", "--generator.depth", "2", "--discriminator.width", "8")
    spec = replace(SPEC, words=(*words, "--discriminator.layers", "1", "--data.val_fraction", "0.5"))
    rows = peers.measure_gains("notebook", checkout, photos, spec, ["fp32"], 0.02, None)
    theirs, mine = rows
    assert (theirs["trainer"], mine["trainer"]) == ("notebook", "gancolor, ugan")
    taken = sys.modules["models"].MainModel.last.taken
    assert theirs["photographs"] == 4 * len(taken) and mine["photographs"] > 0
    for row in rows:
        assert row["photographs"] / row["photos/s"] == pytest.approx(1.2, rel=0.6)  # seconds: whole steps
        assert float(row["best gain [dB]"]) >= float(row["gain [dB]"])
    # The peer is not trained: its random chroma is the same at both looks.
    assert theirs["gain [dB]"] == theirs["best gain [dB]"] and "+inf" not in theirs["gain [dB]"]
    assert "After 0.02 minutes of training each" in capsys.readouterr().out
