"""The package's structure: which folders may import which, and how long files may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gancolor"
# Rooms import from their own and from lower levels; rooms of one level import each other in one direction only.
LEVELS = [
    {"cli", "__main__"},
    {"sweeps"},
    {"training", "export", "compare"},
    {"losses", "evaluation", "demo", "colorize", "serve"},
    {"data", "inference"},
    {"config", "models", "metrics"},
    {"utils"},
    {"color", "choices"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
MODULES = {
    ".".join(("gancolor", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
MOST_LINES = 320


def room(module: str) -> str:
    return module.split(".")[1]


def imports(module: str) -> Iterator[str]:
    """The modules of the package that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "gancolor":
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in MODULES else node.module


ARROWS = {
    module: {other for other in imports(module) if other != "gancolor"} for module in MODULES if module != "gancolor"
}


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Return a circular path, or an empty list."""
    done: set[str] = set()

    def search(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for other in sorted(arrows.get(node, ())):
            if found := search(other, [*path, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(arrows) if (found := search(node, []))), [])


def test_every_folder_has_a_level():
    assert {room(module) for module in ARROWS} == LEVEL.keys()


@pytest.mark.parametrize("module", sorted(ARROWS))
def test_imports_point_down(module):
    upward = {other for other in ARROWS[module] if LEVEL[room(other)] < LEVEL[room(module)]}
    assert not upward


def test_no_circular_imports_of_modules_or_folders():
    assert circle(ARROWS) == []
    rooms: dict[str, set[str]] = {}
    for module, others in ARROWS.items():
        rooms.setdefault(room(module), set()).update(room(other) for other in others if room(other) != room(module))
    assert circle(rooms) == []


def test_circular_import_is_detected():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


@pytest.mark.parametrize("path", [*MODULES.values(), *(PACKAGE.parent / "benchmarks").glob("*.py")], ids=str)
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
