"""The exceptions that reach users as one line of text."""


class InputError(ValueError):
    """What the user gave can't be used. The message says what is wrong and what to do; the commands print it
    alone, without a traceback, and exit with status 2."""


class TrainingError(RuntimeError):
    """Training can't go on. The message says why and what to do; the status is 1."""
