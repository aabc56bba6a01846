"""Entry point of `gancolor serve`, which answers requests until it is interrupted."""

import os
import socket
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pyvips

from gancolor.inference.colorizer import Colorizer
from gancolor.inference.recombine import can_compile
from gancolor.serve.limits import Limits
from gancolor.utils.addresses import in_url, listen, warn_if_public
from gancolor.utils.errors import InputError
from gancolor.utils.signals import Interruption

GRACE = 10  # seconds in which a request that is over its time is still answered when the service stops
NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def run_serve(host: str, port: int, checkpoint: Path | None, device: str, limits: Limits) -> int:
    """Serve until Ctrl-C or SIGTERM; then finish the requests in progress, and refuse new ones.

    Args:
        checkpoint: exported generator or run folder; None: the bundled generator.
        device: see `Colorizer.load`.

    Raises:
        InputError: the checkpoint can't be used, the address or port is unavailable, or the extra is not installed.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise InputError(f"the service needs {', '.join(missing)}: pip install 'gancolor[serve]'")
    host = host.strip("[]")  # around an IPv6 address
    listener = listen(host, port)
    pyvips.block_untrusted_set(True)  # libvips's loaders that are not for files from anywhere
    with Interruption() as interruption, listener:
        colorizer = Colorizer.load(checkpoint, device=device, compiled=can_compile())
        warn_if_public(host, "this service")
        return serve(colorizer, limits, listener, f"http://{in_url(host)}:{port}", interruption)


def serve(
    colorizer: Colorizer, limits: Limits, listener: socket.socket, address: str, interruption: Interruption
) -> int:
    """Serve until a signal comes. Return the exit status, which is 1 if the server has ended by itself; with an overdue
    photograph, end the process."""
    import uvicorn

    from gancolor.serve.app import Service, build_app

    service = Service(colorizer, limits)
    config = uvicorn.Config(
        build_app(service), log_config=None, log_level="warning", access_log=False, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=limits.seconds + GRACE,
    )  # fmt: skip
    server = uvicorn.Server(config)
    # In a thread, uvicorn leaves the signals to us: a stop that was asked for is a success.
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    print(f"{address} colours photographs, and {address}/openapi.json says how; Ctrl-C stops it", flush=True)
    while interruption.signal is None and thread.is_alive():
        time.sleep(0.1)
    service.stopping = server.should_exit = True
    thread.join()
    status = int(interruption.signal is None)
    if service.turns.overdue:
        # Python would wait for its thread, however long it takes; a daemon thread in libvips or ONNX Runtime makes the
        # interpreter's end abort ("terminate called without an active exception").
        os._exit(status)
    return status
