import time

import pytest
import torch

from gancolor.training.meter import Meter


@pytest.fixture
def clock(monkeypatch):
    """Clock that tests advance by hand."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def add(meter: Meter, clock: list[float], seconds: float, **terms: float) -> None:
    clock[0] += seconds
    meter.add({name: torch.tensor(value) for name, value in terms.items()})


def test_means_are_of_the_steps_since_the_last_reading(clock):
    meter = Meter()
    add(meter, clock, 1, l1=1.0, gan=4.0)
    add(meter, clock, 1, l1=3.0, gan=8.0)
    assert meter.read(1) == {"l1": 2.0, "gan": 6.0, "photographs_per_second": 1.0}
    add(meter, clock, 1, l1=7.0, gan=7.0)
    assert meter.read(1)["l1"] == 7.0


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_speed_includes_the_time_of_every_step(clock, steps):
    """The first step after a reading is included."""
    meter = Meter()
    for _ in range(3):
        for _ in range(steps):
            add(meter, clock, 0.5, l1=1.0)
        assert meter.read(16)["photographs_per_second"] == pytest.approx(32)


def test_new_term_names_restart_sums_and_time(clock):
    meter = Meter()
    add(meter, clock, 10, l1=1.0)
    add(meter, clock, 2, l1=5.0, gan=1.0)
    assert meter.read(4) == {"l1": 5.0, "gan": 1.0, "photographs_per_second": 2.0}


def test_time_outside_steps_is_not_counted(clock):
    meter = Meter()
    add(meter, clock, 1, l1=1.0)
    clock[0] += 60  # an evaluation
    meter.restart()
    add(meter, clock, 1, l1=2.0)
    assert meter.read(8) == {"l1": 2.0, "photographs_per_second": 8.0}
