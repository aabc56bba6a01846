"""A checked Weights & Biases sweep file: https://docs.wandb.ai/models/sweeps/sweep-config-keys"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from gancolor.config.parsing import RECIPES, find_config
from gancolor.config.yaml_files import read_yaml
from gancolor.sweeps.command import DEFAULT, make_command
from gancolor.sweeps.hyperband import Hyperband, make_hyperband
from gancolor.sweeps.parameters import Choice, Parameter, make_parameter
from gancolor.utils.errors import InputError, near

METHODS = ("grid", "random", "bayes")
SEARCHED = ("program", "method", "parameters", "metric", "command", "early_terminate")  # keys that determine the runs
KEYS = (*SEARCHED, "run_cap", "name", "description", "project", "entity")


@dataclass(frozen=True)
class SweepMetric:
    """The metric that a sweep optimizes.

    Attributes:
        name: as the runs log it.
        maximize: whether higher is better.
        target: once a run has reached it, no further run starts.
    """

    name: str
    maximize: bool = False
    target: float | None = None

    def best(self, history: Sequence[float]) -> float | None:
        """Return a run's best value, which Weights & Biases uses too; None if it has logged none."""
        return (max if self.maximize else min)(history, default=None)

    def loss(self, value: float) -> float:
        """Return the value, negated if higher is better, so that lower is better."""
        return -value if self.maximize else value

    def reached(self, value: float | None) -> bool:
        return value is not None and self.target is not None and self.loss(value) <= self.loss(self.target)


@dataclass(frozen=True)
class SweepFile:
    """A checked sweep file.

    Attributes:
        path: for error messages.
        content: as read, of the keys that determine the runs.
        configs: content of the files of options that the runs read (`config`), by name; None: can't be read.
        parameters: by name, in alphabetical order, which is that of the W&B agent's words and of the grid.
        command: with macros.
        run_cap: maximum number of runs, or None.
    """

    path: Path
    content: dict[str, Any]
    configs: dict[str, Any]
    program: str
    method: str
    parameters: dict[str, Parameter]
    metric: SweepMetric | None
    command: tuple[str, ...]
    hyperband: Hyperband | None
    run_cap: int | None

    @property
    def varying(self) -> list[str]:
        """Names of the parameters that vary between runs; the first parameter if none does."""
        return [name for name, parameter in self.parameters.items() if parameter.varies] or list(self.parameters)[:1]


def read_sweep_file(path: Path, given: Mapping[str, str]) -> SweepFile:
    """Read and check a sweep file.

    Args:
        path: of a YAML file, or the name of one that comes with gancolor (configs/sweeps).
        given: options by name, which override the file's.

    Raises:
        InputError: the file can't be read or is invalid. The message names it.
    """
    path = find_config(path, RECIPES / "sweeps")
    try:
        content = read_yaml(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such sweep file") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: can't be read ({' '.join(str(error).split())})") from None
    try:
        return _checked(path, content, given)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _checked(path: Path, content: Any, given: Mapping[str, str]) -> SweepFile:
    if not isinstance(content, dict) or not content.get("parameters"):
        raise InputError("a sweep file needs `method` and `parameters`")
    if unknown := [key for key in content if key not in KEYS]:
        raise InputError(_no_key(unknown[0], KEYS))
    method = content.get("method")
    if method not in METHODS:
        raise InputError(f"method: {method}; choose from {', '.join(METHODS)}{near(method, METHODS)}")
    metric = _metric(content["metric"]) if "metric" in content else None
    hyperband = make_hyperband(content["early_terminate"]) if "early_terminate" in content else None
    if metric is None and (hyperband or method == "bayes"):
        raise InputError(f"{'early_terminate' if hyperband else 'method: bayes'} needs `metric`, with name and goal")
    cap = content.get("run_cap")
    if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int) or cap < 1):
        raise InputError(f"run_cap must be a whole number >= 1, not {cap}")
    parameters = _parameters(content["parameters"], given, method)
    command = make_command(content["command"]) if "command" in content else DEFAULT
    return SweepFile(
        path=path,
        content={key: content[key] for key in SEARCHED if key in content},
        configs={name: _content(name) for name in _config_names(parameters, command)},
        program=str(content.get("program", "train.py")),
        method=method,
        parameters=parameters,
        metric=metric,
        command=command,
        hyperband=hyperband,
        run_cap=cap,
    )


def _parameters(section: Any, given: Mapping[str, str], method: str) -> dict[str, Parameter]:
    if not isinstance(section, dict):
        raise InputError("parameters must be named, each with `value`, `values` or a distribution")
    made: dict[str, Parameter] = {}
    for name, spec in section.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name):
            raise InputError(f"parameters: {_no_key(name, ())}")
        try:
            parameter = make_parameter(spec)
            if name not in given and method == "grid" and parameter.grid() is None:
                raise InputError("a grid needs value, values, whole numbers between min and max, or q_uniform")
        except InputError as error:
            raise InputError(f"parameters: {name}: {error}") from None
        made[name] = parameter
    made |= {name: Choice((value,)) for name, value in given.items()}
    if "out" in made:
        raise InputError(
            "parameters: out: leave it out; each run has its own folder in that of gancolor sweep --out DIR"
        )
    return dict(sorted(made.items()))


def _config_names(parameters: Mapping[str, Parameter], command: Sequence[str]) -> list[str]:
    """Return the files that `config` names, as a parameter or among the command's words."""
    values = parameters["config"].grid() if "config" in parameters else None
    words = [
        word.removeprefix("--config=")
        for before, word in pairwise(("", *command))
        if before == "--config" or word.startswith("--config=")
    ]
    return [*map(str, values or ()), *words]


def _content(name: str) -> Any:
    with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):  # the program says what is wrong
        return read_yaml(find_config(Path(name), RECIPES))
    return None


def _metric(section: Any) -> SweepMetric:
    keys = ("name", "goal", "target")
    if not isinstance(section, dict) or not isinstance(section.get("name"), str):
        raise InputError("metric: write it like {name: val/psnr, goal: maximize}")
    if unknown := [key for key in section if key not in keys]:
        raise InputError(f"metric: {_no_key(unknown[0], keys)}")
    goal, target = section.get("goal", "minimize"), section.get("target")
    if goal not in ("minimize", "maximize"):
        raise InputError(f"metric: goal must be minimize or maximize, not {goal}")
    if target is not None and (isinstance(target, bool) or not isinstance(target, int | float)):
        raise InputError(f"metric: target must be a number, not {target!r}")
    return SweepMetric(section["name"], goal == "maximize", target)


def _no_key(key: Any, known: Sequence[str]) -> str:
    if isinstance(key, bool):
        return f"a key {key}: YAML reads on, off, yes and no as true or false, unless they are in quotes"
    return f"no key {key}{near(key, known)}"
