"""YAML files, in which a key that is given twice is an error: YAML's own readers take the last, without a word."""

from pathlib import Path
from typing import Any

import yaml


class DuplicateKeyError(yaml.YAMLError):
    """A mapping has the same key twice. Its text says which, and where."""


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:  # before keys of other mappings are merged in (<<), which these override
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise DuplicateKeyError(f"{key.value!r} is given twice, again in line {key.start_mark.line + 1}")
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """Return a file's content.

    Raises:
        OSError, UnicodeDecodeError: the file can't be read.
        yaml.YAMLError: it is not YAML, or has the same key twice (`DuplicateKeyError`).
    """
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)
