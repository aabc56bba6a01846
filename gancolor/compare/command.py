"""Entry point of `gancolor compare`."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from gancolor.compare.comparison import Comparison
from gancolor.compare.inputs import compare_results, find_results
from gancolor.compare.page import write_page
from gancolor.compare.text_tables import seeds_table, terminal_table, write_ranking_csv
from gancolor.utils.files import check_writable


def run_compare(paths: Sequence[Path], metric: str, csv: Path | None, html: Path | None) -> int:
    """Print a table for each set of comparable results, and write the requested files.

    Returns:
        0, or 1 if an input was left out.

    Raises:
        InputError: there is nothing to compare.
    """
    for option, file in (("--csv", csv), ("--html", html)):
        check_writable(option, file)
    results, problems = find_results(paths)
    comparisons, notes = compare_results(results, metric)
    for line in [*problems, *notes]:
        print(line)
    for comparison in comparisons:
        print(f"\n{headline(comparison)}\n{terminal_table(comparison)}")
        if seeds := seeds_table(comparison):
            print(f"\n{seeds}")
    if csv:
        write_ranking_csv(csv, comparisons)
        print(f"wrote {csv}")
    if html:
        write_page(html, comparisons, [*problems, *notes], shlex.join(["gancolor", *sys.argv[1:]]))
        print(f"wrote {html}")
    return int(bool(problems))


def headline(comparison: Comparison) -> str:
    protocol = comparison.protocol
    return (
        f"{len(comparison.names)} photographs of {comparison.source}; protocol {protocol['name']}, "
        f"{protocol['size']} x {protocol['size']}; mean ± half-width of the 95 % interval; ~ level with the first"
    )
