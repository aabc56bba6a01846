"""The end of wandb's service, a process of its own that sends what is logged."""

import subprocess
import threading
from contextlib import suppress
from typing import Any

STOP_SECONDS = 20.0


def stop_service(wandb: Any, exit_code: int = 0) -> None:
    """Stop the service, by force if it has not ended after `STOP_SECONDS`: with a server that refused the key, wandb
    0.31 once waited for it for more than eight minutes.

    Args:
        wandb: the module.
        exit_code: of the training, for wandb.
    """
    process = service_process(wandb)
    killer = threading.Timer(STOP_SECONDS, process.kill if process else lambda: None)
    killer.start()
    try:
        with suppress(SystemExit):  # wandb's, with the service's own exit code
            wandb.teardown(exit_code)
    finally:
        killer.cancel()


def service_process(wandb: Any) -> "subprocess.Popen[bytes] | None":
    """Return the service's process, for which wandb has no public name; None: there is none, or it was renamed."""
    connection = getattr(wandb.setup(), "_connection", None)
    process: subprocess.Popen[bytes] | None = getattr(getattr(connection, "_proc", None), "_process", None)
    return process
