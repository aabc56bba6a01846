"""The `gancolor colorize` command, which colours photographs and videos."""
