"""Records of a training: metrics.jsonl always, Weights & Biases (W&B) and TensorBoard optionally.

metrics.jsonl is the authoritative record, the others are copies to look at. A missing account, network or wandb
package, or a failure of W&B during training, costs a printed line and some seconds, never the training.
Only this file imports wandb, and only where it is used.
"""

import importlib.util
import json
import math
import os
import re
import secrets
import signal
import ssl
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast, get_args
from urllib.error import HTTPError
from urllib.parse import urlsplit

from gancolor.config.identity import to_dict
from gancolor.config.options import TrainConfig
from gancolor.training.progress import say
from gancolor.training.tensorboard import TensorBoard
from gancolor.training.wandb_service import stop_service
from gancolor.utils.errors import InputError
from gancolor.utils.files import write_atomically
from gancolor.utils.run_files import METRICS

Mode = Literal["online", "offline", "disabled"]

ID_FILE = "wandb_id"
# $WANDB_INIT_TIMEOUT and so on override these. wandb's own limits are 90 s for init and none for finish;
# finish uploads the exported generator, which can take minutes.
_SETTINGS = {"init_timeout": 8.0, "finish_timeout": 120.0, "finish_timeout_raises": True}
_CONNECT_SECONDS = 3.0


def wandb_mode(requested: Literal["auto", "online", "offline", "disabled"]) -> tuple[Mode, str | None]:
    """Return the mode to train in, and one line to print (None: nothing to print).

    "auto" is $WANDB_MODE if set; otherwise "online" if wandb is installed and the user logged in, else "disabled".
    Imports wandb only to ask it that, and sends nothing.

    Raises:
        InputError: `requested` or $WANDB_MODE is not a known mode.
    """
    from_environment = os.environ.get("WANDB_MODE", "").strip() or "auto"
    if from_environment != "auto":
        _checked(from_environment)  # wandb reads it whatever is requested
    wanted = from_environment if requested == "auto" else requested
    if wanted != "auto":
        return _checked(wanted), None
    # A plain folder "wandb", such as wandb creates in the current folder, is found too, but has no origin.
    spec = importlib.util.find_spec("wandb")
    if spec is None or spec.origin is None:
        return "disabled", "Weights & Biases: off, not installed (to turn on: pip install wandb; wandb login)"
    try:
        wandb = _import_wandb()
        if _logged_in(wandb):
            return "online", None
        if wandb.run is None:
            stop_service(wandb)
    except Exception as error:
        return "disabled", f"Weights & Biases: off ({_short(error)})"
    return "disabled", "Weights & Biases: off, not logged in (to turn on: wandb login)"


def open_tracker(config: TrainConfig, mode: Mode, run: Path, effective_batch: int, step: int) -> "Tracker":
    """Open the record of a training in its folder, as the configuration says; `mode` is that of `wandb_mode`."""
    tracking = config.tracking
    about = {**to_dict(config), "effective_batch": effective_batch}
    return Tracker(
        run, mode=mode, project=tracking.project, entity=tracking.entity, name=tracking.name or run.name,
        group=tracking.group, tags=tracking.tags, config=about, step=step, say=say,
        board=TensorBoard(run, about, step) if tracking.tensorboard else None,
    )  # fmt: skip


class Tracker:
    """Writer of one training's metrics to RUN/metrics.jsonl, to `board` and, in modes online and offline, to W&B.

    `mode` is the mode in use, which may be lower than the requested one; `url` is the W&B page when online.
    """

    def __init__(
        self, run: Path, *, mode: Mode, project: str = "gancolor", entity: str | None = None,
        name: str | None = None, group: str | None = None, tags: Sequence[str] = (),
        config: Mapping[str, Any] | None = None, step: int = 0, say: Callable[[str], object] = print,
        board: TensorBoard | None = None,
    ) -> None:  # fmt: skip
        """Open the record in folder `run` (created if missing) of a training that continues from `step` (0: fresh).

        Incomplete lines and those of later steps are removed from metrics.jsonl; a fresh start removes all lines.
        A resumed training continues its W&B run, and a fresh one starts a new run, unless $WANDB_RUN_ID names the
        run. Without `name`, the run is named after the folder. `say` prints a line. If W&B is not available in the
        requested mode, falls back to offline, then disabled, within about 12 s.
        Raises InputError for an unknown mode, OSError if the record can't be written.
        """
        _checked(mode)
        self.mode: Mode = "disabled"
        self.url: str | None = None
        self._say, self._broken, self._board = say, False, board
        self._wandb: Any = None  # the module
        self._run: Any = None
        run.mkdir(parents=True, exist_ok=True)
        self._path = run / METRICS
        _cut(self._path, step)
        self._file = self._path.open("a", encoding="utf-8")
        if mode != "disabled":
            name = name or os.environ.get("WANDB_NAME") or run.resolve().name
            about: dict[str, Any] = {"project": project, "entity": entity, "name": name, "group": group}
            about |= {"tags": list(tags) or None, "config": dict(config or {}), "dir": str(run)}
            self._start(mode, run, step, about)

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """Append one line {"step": step, **values}, flushed. NaN and infinities are null in the file.

        Numbers may be Python's, NumPy's or one-element tensors. Raises ValueError for a value named "step",
        TypeError or ValueError for one that is neither a number nor a string, OSError if the file can't be written.
        """
        if "step" in values:
            raise ValueError('"step" is the name of the step itself and cannot name a value')
        plain = {key: v if isinstance(v, (int, float, str)) else float(v) for key, v in values.items()}
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in plain.items()}
        try:
            self._file.write(json.dumps({"step": int(step), **finite}, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            error.filename = str(self._path)  # a full disk is reported without a name
            raise
        self._send(lambda: self._run.log({"step": int(step), **plain}))
        if self._board:
            self._board.log(int(step), plain)

    def picture(self, step: int, name: str, path: Path) -> None:
        """Show the image file `path` (a sample grid) in W&B and TensorBoard, as far as they are on."""
        self._send(lambda: self._run.log({"step": int(step), name: self._wandb.Image(str(path))}))
        if self._board:
            self._board.picture(int(step), name, path)

    def artifact(self, path: Path, metadata: Mapping[str, Any]) -> None:
        """Log the exported generator (a file or folder) as a W&B model. Does nothing if W&B is off."""

        def send() -> None:
            model = self._wandb.Artifact(f"generator-{self._run.id}", type="model", metadata=dict(metadata))
            (model.add_dir if path.is_dir() else model.add_file)(str(path))
            self._run.log_artifact(model)

        self._send(send)

    def close(self, exit_code: int = 0) -> None:
        """Close the record and, online, wait for uploads, at most 120 s ($WANDB_FINISH_TIMEOUT).

        Errors of W&B are not raised; a second call does nothing. `exit_code` is 0 after success, 128 + the number of
        the signal that interrupted training, or else not 0. A run of a W&B sweep that SIGTERM interrupts is marked as
        preempted, so that the sweep's next agent resumes it."""
        with suppress(OSError):  # `log` has raised it
            self._file.close()
        if self._board:
            self._board.close()
        run, self._run = self._run, None
        try:
            if run is not None:
                # SIGTERM comes from a preempted machine or an ending agent, SIGINT from a person. An agent also
                # terminates runs that the server has stopped; it is up to the server not to restart those.
                if run.sweep_id and exit_code == 128 + signal.SIGTERM:
                    run.mark_preempting()
                run.finish(exit_code=exit_code)
        except Exception as error:
            sync = "wandb sync --include-online" if self.mode == "online" else "wandb sync"
            where = Path(run.dir).parent
            self._say(f"Weights & Biases: not all sent ({_short(error)}); `{sync} {where}` sends it")
            if not isinstance(error, TimeoutError):
                with suppress(Exception):  # wandb's service is lost, and would raise again at exit
                    stop_service(self._wandb, exit_code)

    def _send(self, call: Callable[[], object]) -> None:
        if self._run is None or self._broken:
            return
        try:
            call()
        except Exception as error:
            self._broken = True  # close() still finishes the run, which saves what was logged so far
            self._say(f"Weights & Biases: off from here on ({_short(error)}); {self._path} goes on")

    def _start(self, mode: Mode, folder: Path, step: int, about: dict[str, Any]) -> None:
        problem = None
        try:
            self._wandb = _import_wandb()
            about = about | {"id": _run_id(folder, step)}
            if mode == "online":
                problem = self._online(about)
            if self._run is None:
                self._init("offline", about)
        except Exception as error:
            self._say(f"Weights & Biases: off ({problem or _short(error)})")
            return
        cause, where = f"{problem}: " if problem else "", Path(self._run.dir).parent
        line = f"{cause}recorded offline in {where}; `wandb sync {where}` sends it"
        self._say(f"Weights & Biases: {self.url if self.mode == 'online' else line}")

    def _online(self, about: dict[str, Any]) -> str | None:
        """Start an online run; return None, or why it could not be started."""
        try:
            # Checked here, because wandb would wait for a key at the terminal.
            if not _logged_in(self._wandb):
                return "not logged in (`wandb login`)"
            server = self._wandb.setup().settings.base_url
            if not _answers(server):
                return f"no connection to {urlsplit(server).netloc}"
            self._init("online", about)
        except Exception as error:
            # wandb reserves the id until its service stops, and the offline run has the same id. But if the user's own
            # code has a run open, stopping the service would end that run.
            if self._wandb.run is None:
                stop_service(self._wandb, exit_code=1)
            return _short(error)
        return None

    def _init(self, mode: Mode, about: dict[str, Any]) -> None:
        settings = self._settings()
        self._wandb.setup(settings=settings)  # wandb also prints before a run exists
        # create_new does not touch a run that the user's own code has open.
        how = {"mode": mode, "resume": "allow", "reinit": "create_new", "allow_val_change": True}
        self._run = self._wandb.init(settings=settings, **how, **about)
        self.mode, self.url = mode, self._run.url or None
        # The step is a value like others, because wandb's own counter drops what a resumed training logs again.
        self._send(lambda: self._run.define_metric("step", hidden=True))
        self._send(lambda: self._run.define_metric("*", step_metric="step"))

    def _settings(self) -> Any:
        left = {key: value for key, value in _SETTINGS.items() if f"WANDB_{key.upper()}" not in os.environ}
        return self._wandb.Settings(silent=True, **left)


def _checked(mode: str) -> Mode:
    if mode not in get_args(Mode):
        raise InputError(f"unknown Weights & Biases mode {mode!r}: use auto, {', '.join(get_args(Mode))}")
    return cast(Mode, mode)


def _cut(path: Path, step: int) -> None:
    """Keep only the complete lines of steps up to `step` (0: none). Replaces the file atomically."""
    if not path.exists():
        return

    def kept(line: bytes) -> bool:
        try:
            return json.loads(line)["step"] <= step
        except (ValueError, KeyError, TypeError):
            return False  # incomplete after a kill or a full disk

    def write(beside: Path) -> None:
        with path.open("rb") as source, beside.open("wb") as target:
            target.writelines(line.rstrip(b"\r\n") + b"\n" for line in source if step and kept(line))

    write_atomically(path, write)


def _run_id(folder: Path, step: int) -> str:
    path = folder / ID_FILE
    kept = path.read_text(encoding="utf-8", errors="replace").strip() if step and path.exists() else ""
    new = kept if re.fullmatch(r"[\w.-]{1,128}", kept, re.ASCII) else secrets.token_hex(4)
    run_id = os.environ.get("WANDB_RUN_ID") or new
    path.write_text(run_id + "\n", encoding="utf-8")
    return run_id


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


def _import_wandb() -> Any:
    # wandb's own error reporting hangs for 20 s at exit if the server does not answer.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    for name in [name for name, value in os.environ.items() if name.startswith("WANDB_") and not value.strip()]:
        del os.environ[name]  # wandb refuses an empty value; here it counts as unset, as elsewhere
    import wandb

    return wandb


def _logged_in(wandb: Any) -> bool:
    """Load the user's credentials from where wandb finds them; return whether there are any.

    Does not prompt, print or send anything. Raises wandb's errors about credentials that are malformed.
    """
    # Unless silent, login() looks up the user's name on the server; in mode offline, it returns False at once.
    settings = wandb.setup(settings=wandb.Settings(silent=True, mode="online")).settings
    # While a run of the user's own code is open, login() does nothing, but the settings have that run's credentials.
    known = settings.api_key or settings.identity_token_file
    # prompt=False is meant for this question: https://github.com/wandb/wandb/pull/12741
    return bool(known) or wandb.login(prompt=False, verify=False)


def _answers(url: str) -> bool:
    """Return whether the server, or a proxy before it, sends any HTTP response in time."""
    heard = []

    def ask() -> None:
        try:
            heard.append(urllib.request.urlopen(url.rstrip("/") + "/graphql", timeout=_CONNECT_SECONDS))
        except Exception as error:  # an SSL error counts as a response: wandb has its own certificates
            reason = getattr(error, "reason", None)
            heard.extend([error] * (isinstance(error, HTTPError) or isinstance(reason, ssl.SSLError)))

    thread = threading.Thread(target=ask, daemon=True)  # because DNS lookups have no timeout
    thread.start()
    thread.join(_CONNECT_SECONDS)
    return bool(heard)
