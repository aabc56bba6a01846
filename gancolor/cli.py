"""What the commands share: errors of the user's end in one line and status 2, an interruption in one line and 130."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

from gancolor.errors import InputError, TrainingError


def run(main: Callable[[], int | None]) -> None:
    """Runs a command's main function and exits with its status; what users can mend is said without a traceback."""
    name = Path(sys.argv[0]).name
    try:
        status = main() or 0
    except InputError as error:
        status = fail(name, str(error), 2)
    except TrainingError as error:
        status = fail(name, str(error), 1)
    except KeyboardInterrupt:
        status = fail(name, "interrupted", 130)
    except OSError as error:
        if error.errno is None:
            raise
        full = "; what was saved is whole" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
        status = fail(name, f"{error.filename or 'a file'}: {error.strerror}{full}", 2)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported for this
            raise
        advice = "lower --data.batch_size or --data.size (evaluate.py: --batch_size), or give --data.on_device never"
        status = fail(name, f"the device's memory is full; {advice}. What was saved is whole", 2)
    sys.exit(status)


def fail(name: str, message: str, status: int) -> int:
    rank = os.environ.get("RANK", "0")
    print(f"{name}: {f'rank {rank}: ' if rank != '0' else ''}error: {message}", file=sys.stderr, flush=True)
    return status
