"""YAML files, in which a key that is given twice is an error: YAML's own readers take the last, without a word."""

from pathlib import Path
from typing import Any

import yaml

MERGE = "tag:yaml.org,2002:merge"  # of the key <<, which may stand several times


class DuplicateKeyError(yaml.YAMLError):
    """A mapping has the same key twice. Its text says which, and where."""


def read_yaml(path: Path) -> Any:
    """Return a file's content.

    Raises:
        OSError, UnicodeDecodeError: the file can't be read.
        yaml.YAMLError: it is not YAML, or has the same key twice (`DuplicateKeyError`).
    """
    loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
    try:
        root = loader.get_single_node()
        _check_keys(root, set())
        return None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def _check_keys(node: Any, checked: set[int]) -> None:
    """Raise DuplicateKeyError if a mapping in this node has a key twice.

    Args:
        checked: ids of nodes that have been checked, since aliases are the same nodes.
    """
    if id(node) in checked or not isinstance(node, yaml.CollectionNode):
        return
    checked.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _check_keys(child, checked)
        return
    seen = set()
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
            if (key.tag, key.value) in seen:
                raise DuplicateKeyError(f"{key.value!r} is given twice, again in line {key.start_mark.line + 1}")
            seen.add((key.tag, key.value))
        _check_keys(value, checked)
