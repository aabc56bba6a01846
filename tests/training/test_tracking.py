import http.server
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from gancolor.training import tracking, wandb_service
from gancolor.training.tracking import Tracker, wandb_mode
from gancolor.training.wandb_service import service_process, stop_service
from gancolor.utils.errors import InputError

KEY = "0123456789" * 4


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    """A user with no account, no settings and no proxy, in an empty folder."""
    for name in list(os.environ):
        if name.startswith("WANDB_") or name == "NETRC" or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.chdir(home)
    # What the module sets is set here, to be unset again after the test.
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    yield home
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()  # wandb reads the environment once in its service's life


@pytest.fixture
def said():
    return []


@pytest.fixture
def opened(tmp_path, said):
    """Opens a tracker of one run folder in the mode given, offline unless told."""
    made = []

    def start(mode="offline", **more):
        made.append(Tracker(tmp_path / "run", mode=mode, say=said.append, **more))
        return made[-1]

    yield start
    for tracker in made:
        tracker.close()


def lines(run: Path) -> list[dict]:
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    text = (run / "metrics.jsonl").read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def records(folder: Path) -> list[dict]:
    """What wandb wrote, read back by wandb."""
    command = "from wandb.cli.cli import cli; cli()"
    read = [sys.executable, "-c", command, "leet", "inspect", "--json", str(folder)]
    out = subprocess.run(read, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    return [json.loads(line) for line in out.stdout.splitlines()]


def of_type(read: list[dict], name: str) -> list[dict]:
    return [record[name] for record in read if record["type"] == name]


def closed_port() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{s.getsockname()[1]}"


PROJECT = {"id": "p", "name": "gancolor", "entity": {"id": "e", "name": "me"}}
BUCKET = {"id": "cnVu", "name": "abc", "displayName": "run", "config": "{}", "project": PROJECT}


def reply(body: bytes, url: str) -> dict:
    """What a W&B server says to one request, as far as a run needs it."""
    asked = json.loads(body) if body else {}
    query = asked.get("query", "").strip()
    if query.startswith("query RunResumeStatus"):
        return {"data": {"model": {**PROJECT, "bucket": None}}}
    if query.startswith("mutation UpsertBucket"):
        return {"data": {"upsertBucket": {"bucket": BUCKET, "inserted": True}}}
    if query.startswith("mutation CreateRunFiles"):
        files = [{"name": name, "uploadUrl": f"{url}/up/{name}"} for name in asked["variables"]["files"]]
        return {"data": {"createRunFiles": {"runID": "cnVu", "uploadHeaders": [], "files": files}}}
    return {"data": {}}


@pytest.fixture
def server():
    """Starts a server whose GET is 200 and whose POST is a status, or no answer (None). It keeps what it is
    sent in sent["all"], and answers nothing more once sent["lost"] is set."""
    servers, over = [], threading.Event()

    def start(post, sent=None):
        sent = {} if sent is None else sent
        sent["all"] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self, status):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                sent["all"].append((self.path, body))
                if status is None or sent.get("lost"):
                    over.wait()
                    return
                url = f"http://127.0.0.1:{self.server.server_port}"
                graphql = self.path.endswith("/graphql") and status == 200
                text = json.dumps(reply(body, url) if graphql else {}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self):
                self.answer(200)

            def do_PUT(self):
                self.answer(200)

            def do_POST(self):
                self.answer(post)

            def log_message(self, *args):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        servers[-1].daemon_threads = True
        servers[-1].block_on_close = False
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    over.set()
    for s in servers:
        s.shutdown()
        s.server_close()


@pytest.fixture
def patient(monkeypatch):
    """Time limits that a server on the same machine keeps, however busy it is."""
    monkeypatch.setattr(tracking, "_CONNECT_SECONDS", 600)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "600")


# The mode.


def test_auto_without_account_is_disabled_and_says_how():
    mode, line = wandb_mode("auto")
    assert mode == "disabled"
    assert "wandb login" in line and "\n" not in line


def test_auto_with_key_is_online(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert wandb_mode("auto") == ("online", None)


@pytest.mark.parametrize("file", [".netrc", "_netrc", "elsewhere"])
@pytest.mark.parametrize(
    ("host", "base", "expected"),
    [
        ("api.wandb.ai", None, "online"),
        ("api.forge.coreweave.com", None, "online"),
        ("example.org", None, "disabled"),
        ("api.wandb.ai", "https://wandb.example.org", "disabled"),
        ("wandb.example.org", "https://wandb.example.org/", "online"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080", "online"),
    ],
)
def test_auto_with_netrc(nobody, monkeypatch, file, host, base, expected):
    (nobody / file).write_text(f"machine {host}\n  login user\n  password {KEY}\n")
    (nobody / file).chmod(0o600)
    if file == "elsewhere":
        monkeypatch.setenv("NETRC", str(nobody / file))
    if base:
        monkeypatch.setenv("WANDB_BASE_URL", base)
    assert wandb_mode("auto")[0] == expected


def test_auto_with_server_of_wandb_login_host(nobody):
    (nobody / ".netrc").write_text(f"machine wandb.example.org\n  login user\n  password {KEY}\n")
    assert wandb_mode("auto")[0] == "disabled"
    (nobody / ".config/wandb").mkdir(parents=True)
    (nobody / ".config/wandb/settings").write_text("[default]\nbase_url = https://wandb.example.org\n")
    assert wandb_mode("auto")[0] == "online"


@pytest.mark.parametrize("content", [b"machine\xff\xfe what", b"machine api.wandb.ai login user password short"])
def test_auto_with_broken_netrc_says_so(nobody, content):
    (nobody / ".netrc").write_bytes(content)
    mode, line = wandb_mode("auto")
    assert mode == "disabled"
    assert "Weights & Biases: off (" in line and "\n" not in line


def test_auto_neither_prints_nor_sends(nobody, monkeypatch, capfd, server):
    sent = {}
    monkeypatch.setenv("WANDB_BASE_URL", server(200, sent))
    assert wandb_mode("auto")[0] == "disabled"
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert wandb_mode("auto")[0] == "online"
    out = capfd.readouterr()
    assert out.out == "" and out.err == "" and sent["all"] == []


def test_auto_takes_wandb_mode_and_requests_win(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wandb_mode("auto") == ("offline", None)
    assert wandb_mode("disabled") == ("disabled", None)
    monkeypatch.setenv("WANDB_MODE", "sideways")
    for requested in ("auto", "offline"):  # wandb reads it in any case
        with pytest.raises(InputError, match="sideways"):
            wandb_mode(requested)


def test_unknown_mode(tmp_path):
    with pytest.raises(InputError, match="onlin"):
        wandb_mode("onlin")
    with pytest.raises(InputError, match="auto"):
        Tracker(tmp_path, mode="auto")


# The record.


def test_metrics_lines_as_logged(tmp_path):
    tracker = Tracker(tmp_path / "new" / "run", mode="disabled")
    tracker.log(1, {"loss": 0.1 + 0.2, "phase": "l1", "images": 32})
    first = {"step": 1, "loss": 0.30000000000000004, "phase": "l1", "images": 32}
    assert lines(tmp_path / "new" / "run") == [first]
    tracker.log(2, {"loss": math.nan, "psnr": math.inf, "ssim": np.float32(-np.inf)})
    tracker.log(3, {"loss": torch.tensor(0.5), "psnr": np.float32(0.25), "lr": np.float64(0.1)})
    tracker.close()
    assert lines(tmp_path / "new" / "run")[1:] == [
        {"step": 2, "loss": None, "psnr": None, "ssim": None},
        {"step": 3, "loss": 0.5, "psnr": 0.25, "lr": 0.1},
    ]


def test_what_cannot_be_logged(tmp_path):
    tracker = Tracker(tmp_path, mode="disabled")
    with pytest.raises(ValueError, match="step"):
        tracker.log(1, {"step": 2})
    with pytest.raises(TypeError):
        tracker.log(1, {"loss": [1.0]})
    tracker.log(2, {"loss": 1.0})
    assert lines(tmp_path) == [{"step": 2, "loss": 1.0}]


def test_resume_drops_later_steps_and_torn_lines(tmp_path):
    tracker = Tracker(tmp_path, mode="disabled")
    for step in range(0, 50, 10):
        tracker.log(step, {"loss": step / 7})
    tracker.close()
    whole = lines(tmp_path)
    with (tmp_path / "metrics.jsonl").open("ab") as f:
        f.write(b'{"step": 5, "loss": 0.1')
    tracker = Tracker(tmp_path, mode="disabled", step=30)
    assert lines(tmp_path) == whole[:4]
    tracker.log(40, {"loss": 1.0})
    tracker.close()
    assert lines(tmp_path) == [*whole[:4], {"step": 40, "loss": 1.0}]
    assert [path.name for path in tmp_path.glob("metrics*")] == ["metrics.jsonl"]


DAMAGE = [b"\n", b"\x00" * 100, b"\xff\xfe\n", b"[1]\n", b"7\n", b'{"loss": 1}\n', b'{"step": "x"}\n', b"{"]


@pytest.mark.parametrize("tail", DAMAGE)
def test_resume_from_damaged_file(tmp_path, tail):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1, "loss": 2.0}\n' + tail)
    Tracker(tmp_path, mode="disabled", step=5).close()
    assert lines(tmp_path) == [{"step": 1, "loss": 2.0}]


def test_resume_keeps_last_line_that_lacks_only_its_end(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"step": 2}')
    Tracker(tmp_path, mode="disabled", step=5).close()
    assert lines(tmp_path) == [{"step": 1}, {"step": 2}]


def test_fresh_start_empties_the_file(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"step": 1}\n')
    Tracker(tmp_path, mode="disabled", step=0).close()
    assert lines(tmp_path) == []


# Without wandb.

TRAINING = """
import sys
from pathlib import Path
if {blocked}:
    sys.modules["wandb"] = None
from gancolor.training import tracking
from gancolor.training.tracking import Tracker, wandb_mode
tracking._CONNECT_SECONDS = 600
for mode in {modes}:
    print("auto", wandb_mode("auto"))
    tracker = Tracker(Path("run"), mode=mode)
    tracker.log(1, {{"loss": 1.0}})
    if tracker.mode == "disabled":
        tracker.picture(1, "samples", Path("none.png"))
        tracker.artifact(Path("none.safetensors"), {{}})
    tracker.close()
    print("imported", sys.modules.get("wandb") is not None, tracker.mode)
"""


@pytest.mark.parametrize(
    ("blocked", "modes"), [(True, ("disabled", "offline", "online")), (False, ("disabled",))], ids=["no", "unused"]
)
def test_needs_no_wandb(nobody, monkeypatch, blocked, modes):
    (nobody / "wandb").mkdir()
    if not blocked:
        monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    program = TRAINING.format(blocked=blocked, modes=modes)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout.splitlines()
    for mode in modes:
        auto, *warned, imported = (said.pop(0) for _ in range(2 + (mode != "disabled")))
        assert auto.startswith("auto ") and ("not installed" in auto) == blocked and "disabled" in auto
        assert all(line.startswith("Weights & Biases: off (") for line in warned)
        assert imported == "imported False disabled"
    assert not said
    assert lines(nobody / "run") == [{"step": 1, "loss": 1.0}]
    assert not (nobody / "run" / "wandb_id").exists()


# With wandb, offline.


def test_offline_run_reads_back(tmp_path, opened, said, capfd, monkeypatch):
    for name in ("MODE", "NAME", "INIT_TIMEOUT"):
        monkeypatch.setenv(f"WANDB_{name}", "")  # counts as unset
    config = {"model": {"name": "pix2pix", "width": 64}, "seed": 0}
    tracker = opened(config=config, project="p", group="g", tags=["a", "b"])
    assert tracker.mode == "offline" and tracker.url is None
    tracker.log(50, {"loss/g": 1.5, "phase": "gan"})
    tracker.log(100, {"loss/g": math.nan})
    Image.new("RGB", (8, 4), "red").save(tmp_path / "grid.png")
    tracker.picture(100, "samples", tmp_path / "grid.png")
    (tmp_path / "generator.safetensors").write_bytes(b"weights")
    tracker.artifact(tmp_path / "generator.safetensors", {"psnr": 21.5})
    tracker.close()
    tracker.close()

    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    assert len(said) == 1 and f"`wandb sync {folder}`" in said[0]
    out = capfd.readouterr()
    assert out.out == "" and out.err == ""

    read = records(folder)
    (run,) = of_type(read, "run")
    assert run["config"]["update"].items() >= config.items()
    about = {"project": "p", "display_name": "run", "run_group": "g", "tags": ["a", "b"]}
    assert run.items() >= about.items()
    first, second, third = [h["item"] for h in of_type(read, "history")]
    assert (first["step"], first["loss/g"], first["phase"]) == (50, 1.5, "gan")
    assert (second["step"], second["loss/g"]) == (100, "NaN")
    assert (third["step"], third["samples._type"], third["samples.width"]) == (100, "image-file", 8)
    assert (folder / "files" / third["samples.path"]).is_file()
    assert any(m.get("glob_name") == "*" and m["step_metric"] == "step" for m in of_type(read, "metric"))
    (artifact,) = of_type(read, "artifact")
    assert artifact["name"] == "generator-" + (tmp_path / "run" / "wandb_id").read_text().strip()
    assert artifact["type"] == "model" and json.loads(artifact["metadata"]) == {"psnr": 21.5}
    assert artifact["manifest"]["contents"][0]["path"] == "generator.safetensors"
    assert [record["exit_code"] for record in of_type(read, "exit")] == [0]
    assert len(lines(tmp_path / "run")) == 2


def test_resumed_run_goes_on_under_its_id(tmp_path, opened, monkeypatch):
    run, ids, steps = tmp_path / "run", [], []

    def start(step):
        tracker = opened(step=step)
        tracker.log(step + 10, {"loss": 1.0})
        ids.append(tracker._run.id)
        folder = Path(tracker._run.dir).parent
        tracker.close()
        steps.extend(h["item"]["step"] for h in of_type(records(folder), "history"))

    for step in (0, 10, 5):
        start(step)
    assert len(set(ids)) == 1
    # Steps that go back are kept, for the step is a value like others.
    assert steps == [10, 20, 15]
    start(0)
    assert ids[-1] != ids[0]
    monkeypatch.setenv("WANDB_RUN_ID", "sweep-run-1")
    start(10)
    assert ids[-1] == (run / "wandb_id").read_text().strip() == "sweep-run-1"


@pytest.mark.parametrize(
    ("sweep", "status", "expected"),
    [("abc123", 143, [{}]), ("abc123", 130, []), ("abc123", 1, []), ("abc123", 0, []), ("", 143, [])],
)
def test_interrupted_run_goes_back_to_its_sweep(tmp_path, opened, monkeypatch, sweep, status, expected):
    if sweep:
        monkeypatch.setenv("WANDB_SWEEP_ID", sweep)
    tracker = opened()
    tracker.log(1, {"loss": 1.0})
    tracker.close(status)
    [folder] = (tmp_path / "run/wandb").glob("offline-run-*")
    read = records(folder)
    assert of_type(read, "preempting") == expected
    assert [record["exit_code"] for record in of_type(read, "exit")] == [status]


def test_damaged_id_is_replaced(tmp_path):
    (tmp_path / "wandb_id").write_bytes(b"\xff\x00/")
    assert tracking._run_id(tmp_path, 10) == tracking._run_id(tmp_path, 20)


def test_failing_log_turns_wandb_off_and_training_goes_on(tmp_path, opened, said, monkeypatch):
    tracker = opened()
    calls = []

    def fail(values):
        calls.append(values)
        raise ConnectionResetError("Connection lost")

    monkeypatch.setattr(tracker._run, "log", fail)
    for step in (1, 2, 3):
        tracker.log(step, {"loss": 1.0})
    tracker.picture(3, "samples", tmp_path / "none.png")
    tracker.close()
    assert len(calls) == 1
    assert len(said) == 2 and "Connection lost" in said[1]
    assert [line["step"] for line in lines(tmp_path / "run")] == [1, 2, 3]


def test_missing_picture_does_not_fail(tmp_path, opened, said):
    tracker = opened()
    tracker.picture(1, "samples", tmp_path / "none.png")
    assert len(said) == 2 and "off from here on" in said[1]


def test_run_open_in_the_users_own_code_stays(tmp_path, opened):
    import wandb

    settings = wandb.Settings(silent=True)
    with wandb.init(mode="offline", dir=str(tmp_path), settings=settings) as own:
        tracker = opened()
        tracker.log(1, {"loss": 1.0})
        tracker.close()
        assert tracker.mode == "offline"
        assert wandb.run is own
        own.log({"mine": 1})


def test_auto_while_a_run_is_open_in_the_users_own_code(nobody, server, patient, monkeypatch):
    import wandb

    url = server(200)
    monkeypatch.setenv("WANDB_BASE_URL", url)
    (nobody / ".netrc").write_text(f"machine {url.removeprefix('http://')}\n  login user\n  password {KEY}\n")
    with wandb.init(project="own", settings=wandb.Settings(silent=True)) as own:
        assert wandb_mode("auto") == ("online", None)
        assert wandb.run is own


# Online, where it cannot be.


def test_online_without_account_does_not_ask(tmp_path, opened, said):
    tracker = opened("online")
    assert tracker.mode == "offline"
    assert len(said) == 1 and "not logged in" in said[0] and "wandb sync" in said[0]


def test_no_network_falls_back(tmp_path, opened, said, monkeypatch):
    url = closed_port()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", url)
    tracker = opened("online")
    tracker.log(1, {"loss": 1.0})
    tracker.close()
    assert tracker.mode == "offline" and url.removeprefix("http://") in said[0] and len(said) == 1


def test_server_that_never_answers(tmp_path, opened, said, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        tracker = opened("online")
        tracker.log(1, {"loss": 1.0})
        tracker.close()
    assert tracker.mode == "offline" and "no connection" in said[0] and len(said) == 1


@pytest.mark.parametrize(("status", "reason"), [(401, "401"), (None, "deadline|timed out")])
def test_server_that_refuses_or_hangs_later(tmp_path, server, patient, monkeypatch, status, reason):
    """In a process of its own, for wandb also works at exit."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server(status))
    if status is None:
        monkeypatch.setenv("WANDB_INIT_TIMEOUT", "3")
    monkeypatch.delenv("WANDB_ERROR_REPORTING")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    program = TRAINING.format(blocked=False, modes=("online",))
    program += 'import os; assert os.environ["WANDB_ERROR_REPORTING"] == "false"  # or it delays the exit by 20 s'
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and ran.stderr == "", ran.stderr
    said = ran.stdout.splitlines()
    assert len(said) == 3 and re.search(reason, said[1]) and "recorded offline" in said[1]
    assert said[-1] == "imported True offline"
    run = Path("run")
    assert lines(run) == [{"step": 1, "loss": 1.0}]
    (folder,) = (run / "wandb").glob("offline-run-*")
    assert [h["item"]["loss"] for h in of_type(records(folder), "history")] == [1.0]


def test_service_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(wandb_service, "STOP_SECONDS", 0.3)
    process = subprocess.Popen(["sleep", "60"])

    def teardown(_):
        sys.exit(process.wait())

    connection = SimpleNamespace(_proc=SimpleNamespace(_process=process))
    stop_service(SimpleNamespace(setup=lambda: SimpleNamespace(_connection=connection), teardown=teardown))
    assert process.poll() == -signal.SIGKILL


# Online.


@pytest.mark.parametrize("default", [None, "offline"])
def test_online_run(tmp_path, opened, said, capfd, server, patient, monkeypatch, default):
    sent = {}
    if default:
        monkeypatch.setenv("WANDB_MODE", default)  # which the request overrides
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server(200, sent))
    tracker = opened("online")
    assert tracker.mode == "online" and tracker.url in said[0]
    assert tracker.url.endswith("/me/gancolor/runs/abc")
    assert service_process(sys.modules["wandb"]).poll() is None
    tracker.log(7, {"loss": 0.5})
    tracker.close()
    assert len(said) == 1
    out = capfd.readouterr()
    assert out.out == "" and out.err == ""
    streams = [json.loads(body)["files"] for path, body in sent["all"] if path.endswith("file_stream")]
    history = [files["wandb-history.jsonl"]["content"] for files in streams if "wandb-history.jsonl" in files]
    rows = [json.loads(row) for content in history for row in content]
    assert [(row["step"], row["loss"]) for row in rows] == [(7, 0.5)]


def test_network_lost_in_mid_training(tmp_path, opened, said, server, patient, monkeypatch):
    sent = {}
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server(200, sent))
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "2")
    tracker = opened("online")
    sent["lost"] = True
    tracker.log(1, {"loss": 0.5})
    tracker.close()
    assert len(said) == 2 and "wandb sync --include-online" in said[1]
    sys.modules["wandb"].teardown()  # as at the end of a process, writes the rest
    (folder,) = (tmp_path / "run" / "wandb").glob("run-*")
    assert [h["item"]["step"] for h in of_type(records(folder), "history")] == [1]
