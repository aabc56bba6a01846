"""`python -m gancolor`: the `gancolor` command."""

from gancolor.cli import main

main()
