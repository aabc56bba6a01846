"""Lists and links in the documents match the code and files."""

import re
from pathlib import Path

import pytest

from gancolor.choices import RANKING_METRICS
from gancolor.config.options import EvalConfig
from gancolor.evaluation.protocols import PROTOCOLS
from gancolor.metrics.table import METRICS

DOCS = Path(__file__).parent.parent / "docs"


def rows(document: str, heading: str) -> list[str]:
    """The first cells, without backquotes, of the table below a heading."""
    section = (DOCS / document).read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w[\w-]*)`", section, re.MULTILINE)


def test_every_metric_and_protocol_is_in_the_documents_in_order():
    assert sorted(rows("evaluation.md", "Metrics")) == sorted(METRICS)
    assert rows("evaluation.md", "Protocols") == list(PROTOCOLS)


def test_ranking_metrics_are_those_with_a_direction_except_gain_and_gamut():
    told = {name for name, kind in METRICS.items() if kind.better != "neither"}
    assert set(RANKING_METRICS) == told - {"gain", "in_gamut"}  # gain gives psnr's order; grey is always in gamut


@pytest.mark.parametrize("metrics", [RANKING_METRICS, EvalConfig.__annotations__["best_metric"].__args__])
def test_ranking_metrics_have_a_direction(metrics):
    for metric in metrics:
        assert METRICS[metric].better in ("more", "less")


PAGES = [*DOCS.glob("*.md"), *(DOCS.parent / "integrations").rglob("*.md"), *DOCS.parent.glob("*.md")]


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives a document's headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_documents_exist():
    for document in PAGES:
        for link, _, anchor in re.findall(
            r"\]\((?!https?:)([^)#]*)(#([^)]*))?\)", document.read_text(encoding="utf-8")
        ):
            path = document.parent / link if link else document
            assert path.exists(), f"{document.name}: {link}"
            assert not anchor or anchor in anchors(path), f"{document.name}: {link}#{anchor}"


def test_fences_of_code_stand_on_their_own_lines():
    for document in PAGES:
        fences = [line for line in document.read_text(encoding="utf-8").splitlines() if "```" in line]
        assert all(re.fullmatch(r"```(\w*|\{[\w-]+\})", line) for line in fences) and len(fences) % 2 == 0, (
            document.name
        )
