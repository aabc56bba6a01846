"""Colours an archive on a Ray cluster, with one generator per GPU:

    python examples/ray_data.py /archive/scans --out /archive/colorized --gpus 1 --actors 16

Every machine has gancolor installed and sees the archive at the same paths. Without a cluster, Ray starts one on this
machine. The same command continues where it was stopped.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import ray

from gancolor import Colorizer
from gancolor.cli import run
from gancolor.colorize.inputs import ColorizeJob, find_jobs
from gancolor.colorize.photographs import colour_photographs


class Painter:
    """An actor: a generator, loaded once, and the batches of paths that it is given."""

    def __init__(self, checkpoint: str | None) -> None:
        self.colorizer = Colorizer.load(checkpoint)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Colours what is not there yet. Each file is whole or not there, whatever ends this actor."""
        jobs = [
            ColorizeJob(Path(source), Path(target))
            for source, target in zip(batch["source"], batch["target"], strict=True)
        ]
        left = [job for job in jobs if not job.target.is_file()]
        problems = {problem.name: problem.reason for problem in colour_photographs(self.colorizer, left)}
        return batch | {"problem": np.array([problems.get(source, "") for source in batch["source"]], dtype=object)}


def colour_archive(
    jobs: list[ColorizeJob], checkpoint: str | None, *, actors: int, gpus: float, batch: int
) -> ray.data.Dataset:
    """A row a photograph: `source`, `target`, and the `problem` where it could not be coloured."""
    paths = [{"source": str(job.source.absolute()), "target": str(job.target.absolute())} for job in jobs]
    pool = ray.data.ActorPoolStrategy(size=actors)
    return ray.data.from_items(paths).map_batches(
        Painter, fn_constructor_args=(checkpoint,), batch_size=batch, compute=pool, num_gpus=gpus
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Colours an archive on a Ray cluster.", allow_abbrev=False)
    parser.add_argument("inputs", metavar="IN", nargs="+", help="files, folders or patterns")
    parser.add_argument("--out", metavar="DIR", required=True, help="where the tree of results goes, and table.csv")
    parser.add_argument("--checkpoint", metavar="PATH", help="(default: the generator that comes with gancolor)")
    parser.add_argument("--actors", metavar="N", type=int, default=1, help="generators at a time")
    parser.add_argument("--gpus", metavar="X", type=float, default=0, help="of each actor; 0.5: two share one")
    parser.add_argument("--batch", metavar="N", type=int, default=256, help="photographs given to an actor at a time")
    chosen = parser.parse_args()
    jobs = [job for job in find_jobs(chosen.inputs, chosen.out).jobs if not job.is_video]
    done = colour_archive(jobs, chosen.checkpoint, actors=chosen.actors, gpus=chosen.gpus, batch=chosen.batch)
    table = done.to_pandas()
    table.to_csv(Path(chosen.out) / "table.csv", index=False)
    failed = int((table["problem"] != "").sum())
    print(f"{len(table) - failed} coloured, {failed} not: {chosen.out}/table.csv")
    return int(failed > 0)


if __name__ == "__main__":
    run(main)
