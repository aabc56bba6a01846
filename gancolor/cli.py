"""What the commands share: errors of the user's end in one line and status 2, an interruption in one line and 130."""

import errno
import os
import sys
from collections.abc import Callable

from gancolor.errors import InputError, TrainingError


def run(main: Callable[[], int | None]) -> None:
    """Runs a command's main function and exits with its status; what users can mend is said without a traceback."""
    name = sys.argv[0].rsplit("/", 1)[-1]
    try:
        status = main() or 0
    except InputError as error:
        status = fail(name, str(error), 2)
    except TrainingError as error:
        status = fail(name, str(error), 1)
    except KeyboardInterrupt:
        status = fail(name, "interrupted", 130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES):
            raise
        status = fail(
            name, f"{error.filename or 'a file'} can't be written: {error.strerror}; what was saved is whole", 2
        )
    sys.exit(status)


def fail(name: str, message: str, status: int) -> int:
    rank = os.environ.get("RANK", "0")
    print(f"{name}: {f'rank {rank}: ' if rank != '0' else ''}error: {message}", file=sys.stderr, flush=True)
    return status
