"""Checks of a device against the CPU, for gpu.py: each prints its rows as JSON lines, as soon as it has them."""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))  # this checkout's gancolor, if none is installed
warnings.filterwarnings("ignore", message=".*torch.jit.script.*")  # from gancolor's dependencies

import numpy as np  # noqa: E402
import torch  # noqa: E402
from measure import Row, attempt, synchronize  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from step_runners import GancolorSteps, StepSpec, precisions  # noqa: E402

from gancolor import Colorizer  # noqa: E402
from gancolor.choices import ARCHITECTURES, Precision  # noqa: E402
from gancolor.color.torch_lab import AB_RANGE, lab_to_rgb, rgb_to_lab  # noqa: E402
from gancolor.data.sources.demo import draw_scene  # noqa: E402
from gancolor.training.gan_step import GANStep  # noqa: E402
from gancolor.utils.hardware import choose_hardware  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
WHAT, DIFFERENCE, ALLOWED, OK = "what", "largest difference", "allowed", "passed"
# Largest relative differences of a step's losses from those of float32 on the CPU. bf16 has 8 bits of precision, fp16
# and tf32 have 11; the sums of a step are longer than a single rounding.
LOSSES: dict[Precision, float] = {"fp32": 1e-3, "tf32": 1e-2, "fp16": 2e-2, "bf16": 5e-2}
SIZE, BATCH, STEPS = 64, 4, 3  # of the small steps
SMALL = (
    *("--generator.width", "8", "--generator.dropout", "0", "--generator.global_size", "32"),
    *("--discriminator.width", "8", "--discriminator.layers", "2", "--data.flip", "false", "--data.crop_scale", "1"),
)
BACKBONE = ("--generator.backbone", "test_resnet")  # timm's smallest
OWN_BACKBONE = ("vgg16_autoencoder",)  # its decoder has VGG-16's widths


def main() -> None:
    parser = argparse.ArgumentParser(prog="gpu_checks.py", allow_abbrev=False)
    parser.add_argument("check", choices=CHECKS)
    parser.add_argument("--device", required=True)
    options = parser.parse_args()
    device = choose_hardware(options.device, "fp32").device.type
    failed = False
    for row in CHECKS[options.check](device):
        failed |= not row[OK]
        print(json.dumps(row), flush=True)
    sys.exit(int(failed))


def compared(what: str, found: float, allowed: float) -> Row:
    return {WHAT: what, DIFFERENCE: found, ALLOWED: allowed, OK: bool(found <= allowed)}


def failure(what: str, reason: str) -> Row:
    return {WHAT: what, DIFFERENCE: reason, ALLOWED: "", OK: False}


def check_color(device: str) -> Iterator[Row]:
    """Compare the conversion to Lab and back with that of the CPU."""
    rgb = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    expected, found = rgb_to_lab(rgb), rgb_to_lab(rgb.to(device))
    worst = max((one - other.cpu()).abs().max().item() for one, other in zip(expected, found, strict=True))
    yield compared("sRGB to Lab [ab]", worst * AB_RANGE, 0.02)
    yield compared("Lab to sRGB [1/255]", (lab_to_rgb(*found).cpu() - rgb).abs().max().item() * 255, 0.5)


def check_steps(device: str) -> Iterator[Row]:
    """Compare the losses of every architecture's step, in every precision, with those of float32 on the CPU."""
    for arch in ARCHITECTURES:
        words = SMALL if arch in OWN_BACKBONE else (*SMALL, *BACKBONE)
        spec = StepSpec(arch, SIZE, BATCH, "cpu", 0.0, torch.get_num_threads(), words=words)
        expected = attempt(partial(losses, spec))
        if isinstance(expected, str):
            yield failure(f"{arch} on the CPU", expected)
            continue
        for precision in precisions(device):
            found = attempt(partial(losses, replace(spec, device=device, precision=precision)))
            what = f"{arch}, {precision}"
            allowed = LOSSES[precision]  # type: ignore[index]
            yield failure(what, found) if isinstance(found, str) else compared(what, apart(expected, found), allowed)


def check_compiled(device: str) -> Iterator[Row]:
    """Compare compiled steps, and on CUDA recorded ones, with eager ones."""
    for arch in ("attention_ugan", "pretrained_attention_ugan"):
        eager = StepSpec(arch, SIZE, BATCH, device, 0.0, torch.get_num_threads(), words=(*SMALL, *BACKBONE))
        expected = losses(eager)
        for compiled in ("yes", "graphs") if device == "cuda" else ("yes",):
            found = attempt(partial(losses, replace(eager, compiled=compiled)))
            what = f"{arch}, --compile" + (" --cuda_graphs" if compiled == "graphs" else "")
            yield failure(what, found) if isinstance(found, str) else compared(what, apart(expected, found), 1e-3)


def losses(spec: StepSpec) -> dict[str, float]:
    """Take some steps of each stage and return the first one's losses; raise if weights are not finite in the end."""
    found: dict[str, float] = {}
    for stage in spec.stages():
        steps = GancolorSteps(spec)
        steps.switch()
        for number in range(STEPS):
            terms = steps.step(stage)
            if not number:  # later steps enlarge differences; so do gradients, through BatchNorm over few photographs
                kept = {name: value for name, value in terms.items() if not name.startswith("grad_norm")}
                found |= {f"{stage} {name}": float(value) for name, value in kept.items()}
        synchronize(steps.hardware.device)
        check_weights(steps.gan_step)
    return found


def check_weights(gan_step: GANStep) -> None:
    for name, value in gan_step.generator.state_dict().items():
        if not value.isfinite().all():
            raise ValueError(f"{name} is not finite")


def apart(expected: dict[str, float], found: dict[str, float]) -> float:
    """Return the largest relative difference of losses; those below 0.01 are compared in units of 0.01."""
    return max(abs(found[name] - value) / max(abs(value), 0.01) for name, value in expected.items())


def check_resume(device: str) -> Iterator[Row]:
    """Interrupt a deterministic training by SIGTERM, start it again, and compare the weights with those of a run that
    was not interrupted."""
    with tempfile.TemporaryDirectory() as scratch:
        straight, stopped = Path(scratch, "straight"), Path(scratch, "stopped")
        train(device, straight).wait()
        process = train(device, stopped)
        while process.poll() is None and steps_of(stopped) < 4:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        status = process.wait()
        yield {WHAT: "SIGTERM ends a training with status 143", DIFFERENCE: status, ALLOWED: 143, OK: status == 143}
        train(device, stopped).wait()
        one, other = (load_file(run / "generator.safetensors") for run in (straight, stopped))
        yield compared("weights after resuming", max(gap(one[name], other[name]) for name in one), 0.0)


def train(device: str, run: Path) -> subprocess.Popen[bytes]:
    words = [*SMALL, "--arch", "attention_ugan", "--data.size", "32", "--data.batch_size", "4", "--device", device]
    words += ["--data.demo_photos", "160", "--pretrain_epochs", "1", "--epochs", "1", "--deterministic", "true"]
    words += ["--tracking.log_every", "1", "--tracking.wandb", "disabled", "--lpips.weights", "off"]
    words += ["--data.cache", str(run.parent / "cache"), "--out", str(run)]
    return subprocess.Popen([sys.executable, str(ROOT / "train.py"), *words], stdout=sys.stderr)


def steps_of(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b'"l1"') if path.exists() else 0


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one.double() - other.double()).abs().max().item() if one.numel() else 0.0


def check_colorizer(device: str) -> Iterator[Row]:
    """Compare coloured photographs with those of the CPU: one at a time, a batch on the device, and with little
    memory."""
    checkpoint = ROOT / "gancolor/inference/bundled/generator.safetensors"
    cpu, other = Colorizer.load(checkpoint, device="cpu"), Colorizer.load(checkpoint, device=device)
    scenes = [draw_scene(0, index, 256) for index in range(8)]
    expected = [cpu(scene) for scene in scenes]
    yield compared("Colorizer [1/255]", worst_mean(expected, [other(scene) for scene in scenes]), 1.0)
    batch = torch.from_numpy(np.stack(scenes)).permute(0, 3, 1, 2).to(device)
    yield compared("a batch on the device [1/255]", worst_mean(expected, pictures_of(other(batch))), 1.0)
    if device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.empty_cache()
        large = batch.repeat_interleave(8, dim=0).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
        whole = other(large)[0].cpu()
        peak, held = torch.cuda.max_memory_reserved(), torch.cuda.memory_reserved()
        torch.cuda.set_per_process_memory_fraction(max(0.6 * peak, held * 1.05) / total)
        less = attempt(lambda: other(large)[0].cpu())
        what = "with 0.6 of the memory it took [1/255]"
        if isinstance(less, str):
            yield failure(what, less)
        else:
            yield compared(what, worst_mean(pictures_of(whole[None]), pictures_of(less[None])), 1.0)


def pictures_of(batch: torch.Tensor) -> list[np.ndarray]:
    return list(batch.permute(0, 2, 3, 1).cpu().numpy())


def worst_mean(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """Return the largest mean difference of two pictures."""
    return max(float(np.abs(one.astype(int) - other).mean()) for one, other in zip(expected, found, strict=True))


CHECKS: dict[str, Callable[[str], Iterator[Row]]] = {
    "color": check_color,
    "steps": check_steps,
    "compiled": check_compiled,
    "resume": check_resume,
    "colorizer": check_colorizer,
}

if __name__ == "__main__":
    main()
