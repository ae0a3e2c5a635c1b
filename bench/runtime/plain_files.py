"""Safe parsing of untrusted YAML and JSON: plain values only, within limits.

A small file can expand to a huge or infinite tree: YAML aliases multiply values, and deep nesting
exhausts Python's stack. Neither occurs in files that this project writes.
"""

import json
from typing import Any

import yaml

MAX_BYTES = 2**20
"""Largest file that is read, in bytes; those of a run have a few KiB."""

MAX_DEPTH = 40
"""Maximum nesting; the configuration of a run has fewer than ten levels."""

MAX_NODES = 20_000
"""Maximum number of values in a YAML file, with containers; a configuration has hundreds."""

PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{k}" for k in ("map", "seq", "str", "int", "float"))
PLAIN_TAGS |= {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"}


class _PlainLoader(yaml.SafeLoader):
    """YAML's safe loader for plain values without aliases, within the limits above."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one value with its children; called by YAML's composer."""
        if self.check_event(yaml.AliasEvent):
            raise ValueError("it has YAML aliases, which are not supported")
        self._depth += 1
        self._nodes += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        if self._nodes > MAX_NODES:
            raise ValueError(f"it has more than {MAX_NODES} values")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and node.tag not in PLAIN_TAGS:
            raise ValueError(f"it has a value of type {node.tag}, which is not supported")
        return node


def yaml_value(text: str) -> Any:
    """The value of a YAML text: numbers, strings, booleans, nulls, lists and mappings.

    Raises:
        ValueError: the text is damaged, or beyond the bounds of this module; the message is a
            reason, without a file's name.
    """
    try:
        return yaml.load(text, _PlainLoader)  # a restricted SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def json_value(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: the text is damaged, or beyond the bounds of this module; the message is a
            reason, without a file's name.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
