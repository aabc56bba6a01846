"""Settings of the documentation's website, for Sphinx: `make site` builds it into build/site.

The pages are those of the repository, at the same paths, so links between them work in both.
"""

import shutil
from pathlib import Path

from sphinx.application import Sphinx

import gancolor

project = "gancolor"
copyright = "the authors of gancolor"
version = release = gancolor.__version__

root_doc = "README"
include_patterns = [
    "*.md",
    "docs/*.md",
    "benchmarks/**.md",
    "gancolor/inference/bundled/README.md",
    "integrations/**.md",
]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_ivar = True
default_role = "code"
html_theme = "furo"
html_title = "gancolor"

CONTENTS = """
```{toctree}
:hidden:

Tutorial <docs/tutorial>
```
```{toctree}
:hidden:
:caption: Use

Colouring <docs/colorizing>
Hints <docs/hints>
Serving <docs/serving>
The bundled generator <gancolor/inference/bundled/README>
From Python <docs/python>
ComfyUI <integrations/comfyui/README>
```
```{toctree}
:hidden:
:caption: Train

docs/training
docs/fine_tuning
docs/architectures
docs/adding_an_architecture
docs/losses
docs/large_data
```
```{toctree}
:hidden:
:caption: Measure and share

docs/evaluation
docs/comparing
docs/exporting
```
```{toctree}
:hidden:
:caption: Behind it
:glob:

docs/speed
docs/reliability
benchmarks/README
benchmarks/results/*
CONTRIBUTING
SECURITY
CHANGELOG
```
"""


def add_contents(app: Sphinx, document: str, source: list[str]) -> None:
    """Add the table of contents to the home page; GitHub would show it as text."""
    if document == root_doc:
        source[0] += CONTENTS


def add_index(app: Sphinx, error: Exception | None) -> None:
    """Make the home page the one that web servers show for the folder."""
    if error is None:
        shutil.copy(Path(app.outdir, "README.html"), Path(app.outdir, "index.html"))


def setup(app: Sphinx) -> None:
    """Connect to Sphinx's events."""
    app.connect("source-read", add_contents)
    app.connect("build-finished", add_index)
