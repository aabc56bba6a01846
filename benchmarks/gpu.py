"""Check and measure gancolor on a GPU in one call, for a machine that is there for minutes only:

    python benchmarks/gpu.py --minutes 9 --out DIR --photos DIR

In order of worth: correctness, speed, then a training for the rest of the time. Each step is a process of its own with
a time limit. DIR/results.md and DIR/results.json are written after each step, so that what was found is kept whatever
happens later; DIR/STEP.log has all that a step printed. `--device cpu` rehearses it at a small size.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import header

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent
LEAST = 5  # seconds in which a step can begin
GRACE = 10  # seconds from SIGTERM to SIGKILL
FINISH = 40  # seconds at the end, to export the trained generator and write the results
TRAINING = 0.25  # least share of the time for the training
EVALUATIONS = 30  # seconds between the training's evaluations, about


@dataclass
class Step:
    """A part of the acceptance.

    Attributes:
        share: its time limit, as a share of all the time.
        command: what runs, without Python's own path.
    """

    name: str
    share: float
    command: Sequence[str]


@dataclass
class Outcome:
    """What became of a step. `rows` are those of a check; a benchmark's tables are in `text`."""

    name: str
    status: str
    seconds: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""


class Acceptance:
    """The steps' outcomes, written after each."""

    def __init__(self, out: Path, about: dict[str, Any], end: float) -> None:
        self.out, self.about, self.end = out, about, end
        self.outcomes: list[Outcome] = []

    def left(self) -> float:
        """Return the seconds until the end."""
        return self.end - time.monotonic()

    def run(self, step: Step, limit: float) -> Outcome:
        """Run a step for at most `limit` seconds, and write what there is then."""
        if limit < LEAST:
            return self.add(Outcome(step.name, "left out: no time", 0.0))
        log = self.out / f"{step.name}.log"
        start = time.monotonic()
        status = run_limited(step.command, log, min(limit, self.left()))
        text = log.read_text(encoding="utf-8", errors="replace")
        outcome = Outcome(step.name, status, round(time.monotonic() - start, 1), *rows_and_tables(text))
        return self.add(outcome)

    def add(self, outcome: Outcome) -> Outcome:
        self.outcomes.append(outcome)
        print(f"{outcome.name}: {outcome.status} ({outcome.seconds:.0f} s)", flush=True)
        steps = [vars(each) for each in self.outcomes]
        write(self.out / "results.json", json.dumps({"about": self.about, "steps": steps}, indent=1) + "\n")
        write(self.out / "results.md", report(self.about, self.outcomes))
        return outcome


def main() -> None:
    options = parse()
    start = time.monotonic()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    about = header(options.device, [*sys.argv[1:]])
    acceptance = Acceptance(out, about, start + 60 * options.minutes)
    whole = 60 * options.minutes
    with tempfile.TemporaryDirectory() as compiled:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = compiled  # the default's can hold files that a kill has cut off
        for step in steps_of(options):
            acceptance.run(step, min(step.share * whole, acceptance.left() - TRAINING * whole))
        train_for_the_rest(acceptance, options)
    sys.exit(int(any(outcome.status != "passed" for outcome in acceptance.outcomes)))


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="gpu.py", description="Checks and measures gancolor on a GPU in one call.", allow_abbrev=False
    )
    parser.add_argument("--minutes", type=float, required=True, help="all the time there is")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the results")
    parser.add_argument("--photos", metavar="DIR", help="photographs to train on (default: scenes drawn by code)")
    parser.add_argument(
        "--backbone_weights", metavar="FILE", help="of tf_efficientnet_lite0 (default: timm's, or random)"
    )
    parser.add_argument(
        "--lpips_weights", metavar="FILE", default="off", help="of AlexNet, to score LPIPS (default: off)"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal at a small size")
    return parser.parse_args(argv)


def steps_of(options: argparse.Namespace) -> list[Step]:
    """Return all steps before the training, in order of worth."""
    device, cuda = options.device, options.device == "cuda"
    size, batch = ("256", "64") if cuda else ("64", "4")
    photos = ["--photos", options.photos] if options.photos else []
    measured = ["--device", device, "--size", size, "--batch_size", batch, "--seconds", "6" if cuda else "1"]
    bench, colorize = str(HERE / "bench.py"), str(HERE / "colorize.py")
    general = ["--arch", "pretrained_attention_ugan", "--options", "--config general"]
    attention = ["--arch", "attention_ugan", "--stage", "adversarial"]
    one_turn = ["--only", "step", "--turns", "1", *measured]
    plain = ["--precision", "bf16" if cuda else "fp32"]
    return [
        *(
            Step(name, share, [str(HERE / "gpu_checks.py"), name, "--device", device])
            for name, share in (("color", 0.04), ("steps", 0.14), ("resume", 0.12), ("colorizer", 0.06))
        ),
        Step("speed", 0.16, [bench, *one_turn, *attention]),
        Step("compiled", 0.1, [str(HERE / "gpu_checks.py"), "compiled", "--device", device]),
        Step("speed_compiled", 0.14, [bench, *one_turn, *attention, *plain, "--compile"]),
        Step("speed_general", 0.08, [bench, *one_turn, *general, *plain]),
        Step("epochs", 0.1, [bench, "--only", "epochs", "--epochs", "2", "--limit", "1536" if cuda else "64",
                             *measured, *attention[:2], *plain, *photos]),
        Step("colouring", 0.05, [colorize, "--only", "batches", "--device", device, "--rounds", "1"]),
    ]  # fmt: skip


def train_for_the_rest(acceptance: Acceptance, options: argparse.Namespace) -> None:
    """Train the general recipe until the end, and export the best generator there is by then."""
    run = acceptance.out / "run"
    size, batch, saves = ("256", "64", "200") if options.device == "cuda" else ("64", "8", "25")
    words = [str(ROOT / "train.py"), "--config", "general", "--data.size", size, "--data.batch_size", batch]
    words += ["--checkpoint_every", saves]  # something to export, even if the time ends in the first evaluation
    words += ["--device", options.device, "--tracking.wandb", "disabled", "--lpips.weights", options.lpips_weights]
    words += ["--data.source", options.photos] if options.photos else ["--data.demo_photos", "500"]
    words += ["--generator.backbone_weights", options.backbone_weights] if options.backbone_weights else []
    words += ["--data.cache", str(acceptance.out / "cache")]
    # A first run, of a few steps, also decodes the photographs; its speed gives the number of epochs.
    speed = run_speed(acceptance, words, run.with_name("first_run"))
    left = acceptance.left() - FINISH
    if speed is None or left < FINISH:
        acceptance.add(Outcome("training", "no time left" if speed else "failed: see first_run.log", 0.0))
        return
    epochs, every = 0.8 * left * speed, EVALUATIONS * speed
    words += ["--pretrain_epochs", f"{0.97 * epochs:.4f}", "--critic_epochs", f"{0.01 * epochs:.4f}"]
    words += ["--epochs", f"{0.02 * epochs:.4f}", "--eval.every", f"{every:.4f}", "--out", str(run)]
    acceptance.run(Step("training", 1.0, words), left)
    exported = acceptance.out / "generator.safetensors"
    source = next((run / name for name in ("generator.safetensors", "best.safetensors") if (run / name).is_file()), run)
    export = ["-m", "gancolor", "export", str(source), "-o", str(exported), "--half"]
    acceptance.run(Step("export", 1.0, export), acceptance.left())


def run_speed(acceptance: Acceptance, words: Sequence[str], run: Path) -> float | None:
    """Return the epochs per second of a short run of the trainer, from its own log; None: it failed."""
    few = ["--pretrain_epochs", "0.25", "--epochs", "0", "--critic_epochs", "0", "--data.val_limit", "16"]
    limit = max(acceptance.left() / 3, 1)
    acceptance.run(Step("first_run", 1.0, [*words, *few, "--tracking.log_every", "5", "--out", str(run)]), limit)
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    rates = [line["photographs_per_second"] for line in lines if "photographs_per_second" in line]
    photographs = json.loads((run / "photographs.json").read_text()) if rates else {}
    return rates[-1] / photographs["train"]["used"] if rates else None


def run_limited(command: Sequence[str], log: Path, limit: float) -> str:
    """Run a Python command with its output in `log`; return "passed", "failed ..." or "stopped after N s".

    At the limit, its whole group of processes gets SIGTERM, and SIGKILL if that does not end it.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            return f"stopped after {limit:.0f} s"
    return "passed" if status == 0 else f"failed with status {status}: see {log.name}"


def rows_and_tables(text: str) -> tuple[list[dict[str, Any]], str]:
    """Return the JSON rows of a step's output, and its Markdown tables with their headings."""
    rows, tables = [], []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                rows.append(json.loads(line))
            except ValueError:  # cut off
                continue
        elif line.startswith(("|", "## ")) or not line:
            tables.append(line)
    return rows, "\n".join(tables).strip()


def report(about: dict[str, Any], outcomes: Sequence[Outcome]) -> str:
    """Return the results as Markdown."""
    lines = ["# gancolor on a GPU", "", *(f"- {name}: {value}" for name, value in about.items()), ""]
    lines += ["| step | result | seconds |", "| --- | --- | ---: |"]
    lines += [f"| {each.name} | {each.status} | {each.seconds:.0f} |" for each in outcomes]
    for each in outcomes:
        if not each.rows and not each.text:
            continue
        lines += ["", f"## {each.name}", ""]
        if each.rows:
            columns = list(each.rows[0])
            lines += [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
            lines += [f"| {' | '.join(str(row.get(column, '')) for column in columns)} |" for row in each.rows]
        lines += [each.text.replace("## ", "### ")] if each.text else []
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """Replace a file by a complete new one."""
    beside = path.with_suffix(".part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


if __name__ == "__main__":
    main()
