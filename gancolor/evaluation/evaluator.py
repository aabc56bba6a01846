"""Evaluation (evaluate.py): checkpoints and other tools' pictures, scored on the same photographs, with the grey
baseline and the ground truth."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gancolor.color.torch_lab import grey, to_uint8
from gancolor.config.evaluate import EvaluateConfig, FidConfig
from gancolor.config.options import LpipsConfig
from gancolor.data.cache.photographs import Photographs, load_parts, load_photographs
from gancolor.data.catalogue import Item
from gancolor.evaluation.grids import sample_indices, save_grid
from gancolor.evaluation.hint_scores import HintMeans, hint_table, parse_numbers, score_hints
from gancolor.evaluation.option_checks import check_options
from gancolor.evaluation.other_tools import ToolPictures, names_in
from gancolor.evaluation.photograph_choice import choose_photographs
from gancolor.evaluation.protocols import PROTOCOLS
from gancolor.evaluation.results import SystemResult, describe_generator, gallery_indices, make_result
from gancolor.evaluation.scoring import GREY, Colorized, Scores, System, as_system, load_networks, score, with_gain
from gancolor.evaluation.summary import class_tables, differences, write_scores_csv
from gancolor.evaluation.system_names import check_names, names_of_generators, parse_predictions
from gancolor.evaluation.tables import results_table
from gancolor.inference.backends import trained_size
from gancolor.inference.bundled import named_checkpoint
from gancolor.inference.working_size import working_size
from gancolor.metrics.fid import FID_LEAST, Inception, fid, kid
from gancolor.models.checkpoint import describe, find_generator, load_generator
from gancolor.utils.errors import InputError
from gancolor.utils.hardware import choose_hardware
from gancolor.utils.metadata import section
from gancolor.utils.words import counted, first_of


class Evaluator:
    """Evaluation of several systems on one set of photographs.

    Raises:
        InputError: checkpoints, pictures or photographs can't be read, or do not go together.
    """

    def __init__(self, config: EvaluateConfig) -> None:
        self.config = config
        check_options(config)
        self.hint_numbers = parse_numbers(config.hints) if config.hints is not None else []
        self.hardware = choose_hardware(config.device, "fp32", keep_memory=config.keep_freed_memory)
        self.paths = [find_generator(named_checkpoint(name)) for name in config.checkpoints]
        self.abouts = [describe(path) for path in self.paths]
        self.protocol = PROTOCOLS[config.protocol]
        self.size = self._choose_size()
        names = names_of_generators(config.checkpoints, self.abouts)
        self.folders = parse_predictions(config.predictions)
        if self.folders and self.protocol.tone:
            raise InputError(
                f"--predictions: --protocol {config.protocol} damages the photographs, and other tools' pictures were "
                "not made from the damaged ones; score them by another protocol"
            )
        check_names([*names, *self.folders])
        self.input_sizes = {
            name: working_size((self.size, self.size), config.input_size or trained, trained)[0]
            for name, trained in zip(names, map(trained_size, self.abouts), strict=True)
        }
        self.generators = {
            name: load_generator(path, self.hardware.device) for name, path in zip(names, self.paths, strict=True)
        }
        self.choice = choose_photographs(config.data, self.abouts, self.protocol, self.size)
        self.source = self.choice.source
        self.photographs = self._load(self.choice.items)
        self.predictions = self._load_predictions(self.choice.items)
        self.networks, self.problems = load_networks(config.lpips, self.hardware.device, self.size)
        self.inception = self._load_inception()

    # Setup ------------------------------------------------------------------------------------------------------------

    def _choose_size(self) -> int:
        wanted = self.config.data.size
        if self.protocol.size:
            if wanted not in (None, self.protocol.size):
                raise InputError(
                    f"--protocol {self.config.protocol} has {self.protocol.size} pixels: leave out --data.size"
                )
            return self.protocol.size
        if not wanted and not self.abouts:
            raise InputError("without a checkpoint, give --data.size")
        size = wanted or section(self.abouts[0], "data").get("size")
        if not size:
            raise InputError("the first checkpoint does not say the size of its photographs; give --data.size")
        return size

    def _load(self, items: Sequence[Item]) -> Photographs:
        cache, fit = self.config.data.cache, self.protocol.fit
        if self.source.held_out:
            (photographs,) = load_parts(self.source, [items], self.size, cache, fit)
        else:
            photographs = load_photographs(items, self.size, cache, "photographs", fit)
        if not len(photographs):
            raise InputError(f"--data.source {self.source.name}: none of its photographs can be decoded")
        coloured, self.grey = photographs.without_grey(self.config.data.min_colorfulness)
        if not len(coloured):
            raise InputError(
                f"--data.source {self.source.name}: its photographs ({len(photographs)}) are all grey, so colours "
                "can't be scored on them; give photographs in colour, or --data.min_colorfulness 0"
            )
        return coloured

    def _load_predictions(self, items: Sequence[Item]) -> dict[str, Photographs]:
        """Load other tools' pictures. Photographs that any tool lacks are left out for all systems."""
        known = set(self.photographs.names)
        self.lacking: dict[str, str] = {}
        items = [item for item in items if item.name in known]
        loaded, common = {}, known
        for name, folder in self.folders.items():
            found = ToolPictures(name, folder, items, names_in(self.source))
            loaded[name] = load_photographs(
                found.found, self.size, self.config.data.cache, f"pictures of {name}", self.protocol.fit
            )
            for line in found.notes:
                print(line)
            lacks = found.missing | loaded[name].skipped
            self.lacking |= {name_of: f"{name}: {reason}" for name_of, reason in lacks.items()}
            if lacks:
                print(
                    f"{name} lacks {len(lacks)} of {len(items)}, left out for all systems: {first_of(_reasons(lacks))}"
                )
            common = common & set(loaded[name].names)
        if not common:
            raise InputError(f"no photograph has a picture in each of {', '.join(self.folders)}: score them one by one")
        if len(common) < len(self.photographs):
            kept = np.array([index for index, name in enumerate(self.photographs.names) if name in common], np.int64)
            self.photographs = self.photographs.select(kept, self.photographs.skipped)
        return {name: made.subset(self.photographs.names) for name, made in loaded.items()}

    def _load_inception(self) -> Inception | None:
        weights = self.config.fid.weights
        if weights != "off" and len(self.photographs) < 2:
            self.problems["FID and KID"] = "they need two or more photographs"
        if weights == "off" or len(self.photographs) < 2:
            return None
        try:
            return Inception(weights, self.hardware.device)
        except InputError as error:
            self.problems["FID and KID"] = str(error)
            return None

    # Scores -----------------------------------------------------------------------------------------------------------

    def evaluate(self) -> None:
        """Score grey, every system and the ground truth, and print the table."""
        systems = {"grey": GREY, **self._systems()}
        scores, features = score(
            systems, self.photographs, self.hardware, self.config.batch_size, self.networks, self.inception
        )
        scores |= {name: with_gain(scores[name], scores["grey"]) for name in systems if name != "grey"}
        abouts = {
            name: describe_generator(path, about)
            | {"input_size": self.input_sizes[name], "strength": self.config.strength}
            for name, path, about in zip(self.generators, self.paths, self.abouts, strict=True)
        }
        abouts |= {
            name: {"pictures": str(self.folders[name]), "sha256": made.contents_digest}
            for name, made in self.predictions.items()
        }
        whole = {
            name: {"fid": fid(found, features["truth"]), "kid": kid(found, features["truth"])}
            for name, found in features.items() if name != "truth"
        }  # fmt: skip
        results = {
            name: SystemResult(found, whole.get(name, {}), abouts.get(name, {})) for name, found in scores.items()
        }
        for name, hints in self._score_hints(scores).items():
            results[name].hints = hints
        described = self.protocol.describe(self.size, self.config.data.val_limit, self.choice.seed)
        protocol = {"name": self.config.protocol, **described}
        self.result = make_result(
            protocol, self.source.name, self.photographs, self.source.classes, results,
            self._pictures(gallery_indices(self.photographs)), left_out=self.problems,
            photographs_left_out=dict.fromkeys(self.grey, "grey") | self.lacking | self.photographs.skipped,
        )  # fmt: skip
        self._print()

    def _systems(self) -> dict[str, System]:
        def given(made: Photographs) -> System:
            return lambda _, indices: Colorized(made.take(indices).to(self.hardware.device))

        generators = {
            name: as_system(generator, self._seen, size=self.input_sizes[name], strength=self.config.strength)
            for name, generator in self.generators.items()
        }
        return generators | {name: given(made) for name, made in self.predictions.items()}

    def _score_hints(self, scores: Mapping[str, Scores]) -> dict[str, HintMeans]:
        if not self.hint_numbers:
            return {}
        return score_hints(
            self.generators, scores, scores["grey"], self.hint_numbers, self.photographs, self.hardware,
            self.config.batch_size, self.networks, self._seen, self.input_sizes, self.config.strength,
        )  # fmt: skip

    def _seen(self, pictures: Tensor, indices: Tensor) -> Tensor | None:
        """Return the lightness that systems are given; see `scoring.View`."""
        names = self.photographs.names
        return self.protocol.seen(pictures, [names[index] for index in indices.tolist()])

    @torch.inference_mode()
    def _pictures(self, indices: Tensor) -> dict[str, Tensor]:
        """Return uint8 pictures of these photographs: grey, each system's, and the ground truth."""
        truth = self.photographs.take(indices).to(self.hardware.device)
        systems = {"grey": GREY, **self._systems()}
        return {**{name: system(truth, indices).pictures for name, system in systems.items()}, "truth": truth}

    def _print(self) -> None:
        protocol, choice = self.result.protocol, self.choice
        print(
            f"{counted(len(self.photographs), choice.noun)}{choice.scope} of {self.source.name}; "
            f"protocol {protocol['name']}: {protocol['resizing']}, {self.size} x {self.size}; "
            "mean ± half-width of the 95 % interval"
        )
        if "seen" in protocol:
            print(f"systems see {protocol['seen']}")
        for name, size in self.input_sizes.items():
            if size != self.size:
                print(f"{name} sees {size} x {size}, and its colours are resized, as gancolor colorize does")
        if self.config.strength != 1:
            print(f"predicted chroma is multiplied by {self.config.strength:g}")
        if self.photographs.skipped:
            skipped = self.photographs.skipped
            print(f"{len(skipped)} more can't be decoded: {first_of(_reasons(skipped))}")
        if self.grey:
            print(f"{len(self.grey)} more left out for all systems as grey: {first_of(self.grey)}")
        print(results_table({name: system.means for name, system in self.result.systems.items()}))
        for line in differences(self.result):
            print(line)
        for name, system in self.result.systems.items():
            if system.hints:
                print(f"\n{name}, by the number of random hints:\n{hint_table(system.hints)}\n")
        if self.config.by_class and not self.result.classes:
            print("--by_class: these photographs have no classes, because they are not in subfolders")
        elif self.config.by_class:
            for table in class_tables(self.result):
                print(f"\n{table}")
        if self.inception and len(self.photographs) < FID_LEAST:
            print(f"FID of fewer than {FID_LEAST} photographs is comparable only on the same photographs: see KID")
        for what, problem in self.problems.items():
            print(f"{what} left out: {problem}")

    # Files ------------------------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Write the requested files."""
        wanted: list[tuple[str | None, Callable[[Path], None]]] = [
            (self.config.json, self.result.save),
            (self.config.csv, partial(write_scores_csv, self.result)),
            (self.config.grid, self._write_grid),
        ]
        for name, write in wanted:
            if name:
                write(Path(name))
                print(f"wrote {name}")

    def _write_grid(self, path: Path) -> None:
        """Write a grid of sample pictures. If photographs are damaged, the systems' input is at the top."""
        indices = sample_indices(len(self.photographs), self.config.samples)
        seen = self._seen(self.photographs.take(indices), indices)
        rows = {} if seen is None else {"seen by the systems": to_uint8(grey(seen))}
        save_grid(path, rows | self._pictures(indices))

    @property
    def status(self) -> int:
        """Exit status: 1 if a metric was left out whose option is not the default, else 0."""
        asked = {
            "LPIPS": self.config.lpips.weights != LpipsConfig().weights,
            "LPIPS (VGG)": self.config.lpips.vgg_weights != LpipsConfig().vgg_weights,
            "FID and KID": self.config.fid.weights != FidConfig().weights,
        }
        return int(any(asked[what] for what in self.problems))


def _reasons(skipped: Mapping[str, str]) -> list[str]:
    return [f"{name} ({reason})" for name, reason in skipped.items()]
