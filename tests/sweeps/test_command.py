"""gancolor.sweeps.command: command lines, compared with those of the wandb agent."""

import json
import os
from pathlib import Path

import pytest

from gancolor.sweeps.command import (
    ARGUMENTS,
    DEFAULT,
    INSTALLED_TRAINER,
    JSON_FILE,
    command_words,
    make_command,
    program_words,
)
from gancolor.training.command import parse_train
from gancolor.utils.errors import InputError

VALUES = {
    "arch": "ugan",
    "compile": True,
    "data.flip": False,
    "data.source": "my photographs",
    "generator.depth": None,
    "loss.l1": 100,
    "optim.betas": [0.5, 0.9],
    "optim.lr_g": 1e-05,
    "optim.lr_d": 0.000123457,
    "tracking.tags": ["a b", "c"],
}
COMMANDS = {
    "default": [*DEFAULT],
    "words": ["torchrun", "--nproc_per_node", 2, "${program}", "${args}", "--compile"],
    "variables": ["${env}", "PYTHONPATH=${envvar:FOLDER}:x", "${envvar:NOT_SET}", "${program}", "${args}"],
    "twice": ["${interpreter}", "${program}", "${args}", "--", "${args_json}"],
    "json file": ["${interpreter}", "${program}", "--config", "${args_json_file}"],
    **{macro: ["${interpreter}", "${program}", macro] for macro in ARGUMENTS},
}


@pytest.fixture
def agent(monkeypatch, tmp_path):
    """Return a function of command and values that gives the words that wandb's own agent starts."""
    from wandb import wandb_agent

    started = []

    class Process:
        def __init__(self, command, **_):
            started.append(command)

    monkeypatch.setattr(wandb_agent, "AgentProcess", Process)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    for name in ("WANDB_DIR", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):  # the agent sets them
        monkeypatch.setenv(name, "")

    def start(command, values):
        made = wandb_agent.Agent(None, None)
        made._sweep_command = [*command]
        args = {name: {"value": value} for name, value in values.items()}
        made._command_run({"run_id": "r", "program": "train.py", "args": args})
        return started.pop()

    return start


@pytest.mark.parametrize("name", COMMANDS)
def test_command_words_match_the_wandb_agent(agent, monkeypatch, name):
    monkeypatch.setenv("FOLDER", "/some where")
    theirs = agent(COMMANDS[name], VALUES)
    json_file = os.path.join("wandb", "sweep-s", "config-r.json")  # noqa: PTH118 - the agent's
    ours = command_words(make_command(COMMANDS[name]), ["train.py"], VALUES, "python", json_file)
    assert ours == theirs
    if JSON_FILE in COMMANDS[name]:
        assert json.loads(Path(json_file).read_text()) == VALUES


def test_default_command_matches_the_wandb_agent():
    from wandb.wandb_agent import Agent

    assert [*DEFAULT] == Agent.DEFAULT_SWEEP_COMMAND


@pytest.mark.parametrize("macro", ["${args}", "${args_no_equals}"])
def test_trainer_accepts_values_as_the_wandb_agent_writes_them(macro):
    config = parse_train(command_words((macro,), (), VALUES, "", ""))
    assert (config.arch, config.compile, config.data.flip) == ("ugan", True, False)
    assert (config.data.source, config.generator.depth) == ("my photographs", None)
    assert (config.loss.l1, config.optim.lr_g, config.optim.lr_d) == (100, 1e-5, 0.000123457)
    assert (config.optim.betas, config.tracking.tags) == ((0.5, 0.9), ["a b", "c"])


def test_none_is_null_for_text_options():
    assert parse_train(["--tracking.name=None"]).tracking.name is None
    assert parse_train(["--tracking.name", "None"]).tracking.name is None


def test_unset_environment_variable_is_replaced_by_its_name(monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    assert make_command(["a-${envvar:NOT_SET}-b", "${args}"]) == ("a-NOT_SET-b", "${args}")


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ("python train.py ${args}", ["a list"]),
        ([], ["a list"]),
        (["python", "train.py"], ["${args}", "no parameter reaches"]),
        (["python", "train.py", "${arg}"], ["${arg}", "did you mean", "${args}"]),
        (["python", "${args_no_hyphen}"], ["${args_no_hyphens}"]),
    ],
)
def test_refused(section, named):
    with pytest.raises(InputError, match="command: ") as error:
        make_command(section)
    for part in named:
        assert part in str(error.value)


def test_an_installed_package_trains_without_a_script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert program_words("train.py") == INSTALLED_TRAINER == ("-m", "gancolor", "train")
    assert program_words("mine.py") == ("mine.py",)
    (tmp_path / "train.py").touch()
    assert program_words("train.py") == ("train.py",)
