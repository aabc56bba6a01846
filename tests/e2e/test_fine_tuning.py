"""--init: fine-tuning of a finished generator by the real command."""

import json
import shutil
import signal

import torch
from safetensors.torch import load_file

from gancolor.models.checkpoint import describe, export_generator, load_generator
from gancolor.utils.files import file_digest

FAST = ["--data.size", 16, "--data.batch_size", 2, "--precision", "fp32", "--tracking.log_every", 1]
FAST += ["--discriminator.width", 4, "--discriminator.layers", 1]


def fine_tune(commands, init, out, photographs, *options, **how):
    words = ["--init", init, "--out", out, "--data.source", photographs, *FAST, "--pretrain_epochs", 2, *options]
    return commands.start("train.py", *words, **how)


def test_run_starts_from_another_runs_folder(commands, finished, photographs, read, tmp_path):
    """With a tiny learning rate, generator and discriminator stay exactly as in the other run."""
    source, _, _ = finished
    still = ["--optim.lr_pretrain", 1e-12, "--optim.lr_g", 1e-12, "--optim.weight_decay", 0]
    out = tmp_path / "tuned"
    done = fine_tune(commands, source, out, photographs, *still).wait().ok()
    digest = file_digest(source / "generator.safetensors")
    assert f"starts from {source} (ugan, step " in done.out and digest[:12] in done.out
    assert f"the discriminator starts from {source / 'last.safetensors'}" in done.out
    before, after = load_file(source / "generator.safetensors"), load_file(out / "generator.safetensors")
    weights = [name for name in before if "running" not in name and "tracked" not in name]
    assert all(torch.allclose(before[name], after[name], atol=1e-8) for name in weights)
    judges = [load_file(folder / "last.safetensors") for folder in (source, out)]
    names = [name for name in judges[0] if name.startswith("discriminator.")]
    assert names and all(torch.equal(judges[0][name], judges[1][name]) for name in names)
    assert describe(out / "generator.safetensors")["init_sha256"] == digest


def test_what_the_starting_point_was_trained_on_stays_known(commands, finished, photographs, draw, tmp_path):
    """Fine-tuned on others, a generator is still scored on photographs that its first training held out."""
    source, _, _ = finished
    others, tuned = draw(tmp_path / "others", 6, seed=9), tmp_path / "tuned"
    assert "held out other photographs" not in fine_tune(commands, source, tuned, others).wait().ok().out
    first = {"source": str(photographs), "held_out": True, "seed": 0, "val_fraction": 0.3}
    assert describe(tuned / "generator.safetensors")["trained_on"] == [first]
    scored = [
        commands.evaluate(run, "--data.source", photographs, "--lpips.weights", "off").ok().out.partition(" of ")[0]
        for run in (source, tuned)
    ]
    assert scored[0] == scored[1] and scored[0].endswith("validation photographs")

    other_seed = ["--data.val_fraction", 0.3, "--seed", 1]
    said = fine_tune(commands, tuned, tmp_path / "again", photographs, *other_seed).wait().ok().out
    assert "so it has seen most of this run's held-out ones" in said
    refused = commands.evaluate(tmp_path / "again", "--lpips.weights", "off")
    refused.refusal("those that they were fine-tuned from, held out different photographs")


def test_an_interrupted_run_resumes_bit_for_bit(commands, finished, photographs, read, tmp_path):
    source = tmp_path / "generator.safetensors"
    shutil.copy(finished[0] / "generator.safetensors", source)
    fine_tune(commands, source, tmp_path / "straight", photographs).wait().ok()
    running = fine_tune(commands, source, tmp_path / "run", photographs)
    record = tmp_path / "run" / "metrics.jsonl"
    running.until(lambda: record.exists() and record.read_bytes().count(b'"log_mse"') >= 3)
    running.send(signal.SIGTERM)
    assert running.wait().status == 143
    moved = source.rename(tmp_path / "moved.safetensors")  # the file is identified by its contents
    resumed = fine_tune(commands, moved, tmp_path / "run", photographs).wait().ok()
    assert "resumed at step" in resumed.out
    read.same_tensors(tmp_path / "straight" / "generator.safetensors", tmp_path / "run" / "generator.safetensors")


def test_changed_init_file_is_another_run(commands, finished, photographs, tmp_path):
    source, run = tmp_path / "generator.safetensors", tmp_path / "run"
    shutil.copy(finished[0] / "generator.safetensors", source)
    fine_tune(commands, source, run, photographs).wait().ok()
    export_generator(source, load_generator(source), describe(source), half=True)
    refused = fine_tune(commands, source, run, photographs).wait()
    refused.refusal(str(run), "--init_sha256 was")


def test_refusals_leave_nothing_behind(commands, finished, photographs, tmp_path):
    source, onnx = finished[0], tmp_path / "generator.onnx"
    onnx.write_bytes(b"\x08\x07")
    cases = [
        ([tmp_path / "nothing.safetensors"], ["nothing.safetensors", "no such checkpoint"]),
        ([tmp_path], [str(tmp_path), "no checkpoint in this folder"]),
        ([onnx], ["generator.onnx", "not a gancolor checkpoint"]),
        ([source, "--arch", "ltbc"], ["--arch ltbc", "ugan"]),
        ([source, "--generator.width", 8], ["--generator.width 8", "has 4"]),
    ]
    for (init, *options), named in cases:
        fine_tune(commands, init, tmp_path / "run", photographs, *options).wait().refusal(*named)
        assert not (tmp_path / "run").exists()


def test_the_bundled_generator_is_fine_tuned(commands, photographs, read, tmp_path):
    words = ["--init", "bundled", "--out", tmp_path, "--data.source", photographs, "--data.size", 64]
    commands.train(*words, "--data.batch_size", 4, "--pretrain_epochs", 0.5, "--precision", "fp32").ok()
    about = json.loads((tmp_path / "environment.json").read_text())
    assert about[-1]["step"] == 0
    assert describe(tmp_path / "generator.safetensors")["init_sha256"]
