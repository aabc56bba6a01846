"""gancolor.sweeps.history: values that a run has logged so far."""

from gancolor.sweeps.history import History, logged_names


def test_values_of_a_file_that_grows(tmp_path):
    history = History(tmp_path, "loss")
    path = tmp_path / "metrics.jsonl"
    assert history.read() == []
    path.write_text('{"step": 1, "loss": 3.0, "stage": "pretraining"}\n{"step": 2, "lr_g": 0.1}\n')
    assert history.read() == [3.0]
    with path.open("a") as file:
        file.write('{"step": 3, "loss": null}\n{"step": 4, "loss": 2}\n{"step": 5, "los')  # being written
    assert history.read() == [3.0, 2]
    with path.open("a") as file:
        file.write('s": 1.5}\n')
    assert history.read() == [3.0, 2, 1.5]
    path.write_text('{"step": 1, "loss": 9.0}\n')  # started again
    assert history.read() == [9.0]


def test_history_without_metric_is_empty(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 3.0}\n')
    assert History(tmp_path, None).read() == []


def test_logged_names_are_those_of_numbers(tmp_path):
    assert logged_names(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 3.0, "stage": "pretraining", "done": true}\n{"step": 2, "val/psnr": 20}\n[1]\n'
    )
    assert logged_names(tmp_path) == ["loss", "val/psnr"]
