"""In which order photographs in shards are trained on."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gancolor.data.sampler import ShardShuffle, Shuffle
from gancolor.utils import distributed
from gancolor.utils.errors import InputError


def shard_shuffle(counts: list[int], batch_size: int = 4, seed: int = 0, window: int = 2) -> ShardShuffle:
    """Of shards of so many photographs."""
    shards = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return ShardShuffle(torch.arange(len(shards)), shards, batch_size, seed, window)


def epoch_of(order, epoch: int) -> list[int]:
    return [index for step in range(order.steps_per_epoch) for index in order.indices(epoch, step).tolist()]


def on_ranks(monkeypatch, count: int, make):
    """What each rank makes."""
    made = []
    for rank in range(count):
        with monkeypatch.context() as patch:
            patch.setattr(distributed, "world_size", lambda: count)
            patch.setattr(distributed, "rank", lambda rank=rank: rank)
            made.append(make())
    return made


def test_global_shuffle_of_known_photographs_never_changes():
    """A run that is resumed with a later version must go on where it was."""
    order = Shuffle(torch.arange(2, 23), 5, 7)
    found = [order.indices(*divmod(step, 4)).tolist() for step in (0, 1, 4, 9)]
    assert found == [[4, 17, 16, 20, 8], [15, 3, 22, 18, 21], [21, 20, 11, 13, 6], [18, 5, 4, 13, 14]]


def test_shuffle_of_known_shards_never_changes():
    order = shard_shuffle([5, 6, 7, 4], seed=7)
    assert [order.indices(0, 0).tolist(), order.indices(1, 3).tolist()] == [[4, 1, 5, 10], [8, 18, 19, 21]]


@settings(max_examples=15)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=9), batch_size=st.integers(1, 6), epoch=st.integers(0, 9),
    window=st.integers(1, 4),
)  # fmt: skip
def test_an_epoch_sees_each_photograph_at_most_once(counts, batch_size, epoch, window):
    order = shard_shuffle(counts, batch_size, window=window)
    seen = epoch_of(order, epoch)
    assert len(seen) == len(set(seen)) == sum(counts) // batch_size * batch_size
    assert all(len(order.indices(epoch, step)) == batch_size for step in range(order.steps_per_epoch))


def test_steps_can_be_asked_for_in_any_order():
    forwards = shard_shuffle([5, 6, 7, 4, 9])
    steps = list(itertools.product(range(3), range(forwards.steps_per_epoch)))
    found = {step: forwards.indices(*step).tolist() for step in steps}
    for step in reversed(steps):
        assert shard_shuffle([5, 6, 7, 4, 9]).indices(*step).tolist() == found[step]


def test_epochs_and_seeds_differ_and_photographs_are_mixed_within_windows():
    order = shard_shuffle([8] * 6)
    epochs = [epoch_of(order, epoch) for epoch in range(4)] + [epoch_of(shard_shuffle([8] * 6, seed=1), 0)]
    assert len({tuple(epoch) for epoch in epochs}) == 5
    first = epochs[0][:16]  # a window
    shards = [index // 8 for index in first]
    assert len(set(shards)) == 2 and shards != sorted(shards) and shards != sorted(shards, reverse=True)
    assert sorted(first) == sorted({8 * shard + n for shard in set(shards) for n in range(8)})


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_read_different_shards_and_new_ones_in_every_epoch(monkeypatch, ranks):
    counts = [7, 5, 6, 9, 4, 6, 8]
    shard_of = [shard for shard, count in enumerate(counts) for _ in range(count)]

    def read():
        order = shard_shuffle(counts, 3)
        return [{shard_of[index] for index in epoch_of(order, epoch)} for epoch in range(5)], order.steps_per_epoch

    made = on_ranks(monkeypatch, ranks, read)
    assert len({steps for _, steps in made}) == 1 and made[0][1] == sum(sorted(counts)[: 7 // ranks]) // 3
    for epoch in range(5):
        for (one, _), (other, _) in itertools.combinations(made, 2):
            assert not one[epoch] & other[epoch]
    assert len({tuple(sorted(epochs)) for epochs in made[0][0]}) > 1


def test_what_is_held_is_what_is_drawn_from_and_the_window_after(monkeypatch):
    counts = [7, 5, 6, 9, 4, 6, 8, 5]
    shard_of = [shard for shard, count in enumerate(counts) for _ in range(count)]
    order = shard_shuffle(counts, 3)
    before: list[int] = []
    for epoch, step in itertools.product(range(3), range(order.steps_per_epoch)):
        held = order.held(epoch, step)
        drawn = {shard_of[index] for index in order.indices(epoch, step).tolist()}
        assert drawn <= set(held) and len(held) <= 4
        assert not before or drawn <= set(before)  # it was asked for at least a step earlier
        before = held


def test_fewer_shards_than_ranks_are_refused(monkeypatch):
    with pytest.raises(InputError, match="3 processes can't share 2 shards; start fewer"):
        on_ranks(monkeypatch, 3, lambda: shard_shuffle([5, 5]))
