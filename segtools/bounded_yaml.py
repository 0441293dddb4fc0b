"""YAML from outside, read within bounds: nesting, numbers, aliases and dates.

PyYAML recurses once per level, makes integers of any length and lets the ValueErrors of dates through: a
file of a few kilobytes could end in a RecursionError, or in a number that Python refuses to print.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

DEEPEST = 64
"""Levels of nesting; no file of this project has ten."""
MOST_NODES = 1_000_000
_LONGEST_NUMBER = 64
_LARGEST = 2**64


class BoundedLoader(yaml.SafeLoader):
    """`yaml.SafeLoader` that refuses deep nesting, endless numbers and impossible dates.

    All it raises is a `yaml.YAMLError` that knows the line.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._heights: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node and what is in it."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        is_alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        height, node = 0, None
        if self._depth <= DEEPEST:
            node = super().compose_node(parent, index)
            if is_alias and id(node) not in self._heights:
                raise yaml.composer.ComposerError(None, None, "an alias stands within its own anchor", mark)
            height = self._heights[id(node)] = 1 + max(map(self._height, _children(node)), default=0)
        if node is None or height > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"it is nested more than {DEEPEST} deep", mark)
        self._depth -= 1
        return node

    def _height(self, node: yaml.Node) -> int:
        return self._heights[id(node)]

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a node's value."""
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > _LONGEST_NUMBER:
            raise _problem(node, f"a number has more than {_LONGEST_NUMBER} characters")
        try:
            value = super().construct_object(node, deep)
        except (ValueError, LookupError, OverflowError) as error:
            raise _problem(
                node, f"{node.value!r:.80} is no {node.tag.rpartition(':')[2]} ({error})"
            ) from error
        if isinstance(value, int) and not -_LARGEST < value < _LARGEST:
            raise _problem(node, "a number needs more than 64 bits")
        return value


def _children(node: yaml.Node | None) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair


def _problem(node: yaml.Node, what: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


def load_yaml(text: str) -> Any:
    """Plain value of a YAML text.

    Raises
    ------
    yaml.YAMLError
        Whatever is wrong with it; more than `MOST_NODES` values with those that aliases repeat.
    """
    loader = BoundedLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, 0)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count(node: yaml.Node, counted: int) -> int:
    """Count nodes, those behind an alias each time; aliases could stand for billions."""
    counted += 1
    if counted > MOST_NODES:
        raise _problem(node, f"it has more than {MOST_NODES} values")
    for child in _children(node):
        counted = _count(child, counted)
    return counted
