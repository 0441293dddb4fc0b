"""JSON whose errors name a line and a key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from segtools.bounded_yaml import BoundedLoader
from segtools.encode.metadata.description import invalid
from segtools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Key = str | int
_LARGEST = 1 << 26


class JsonFile:
    """A parsed JSON document that remembers where it came from.

    Parameters
    ----------
    path : Path

    Raises
    ------
    UsageError
        ``metadata-invalid``: no JSON, or one key twice in an object.
    OSError
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        raw = path.read_bytes()
        if len(raw) > _LARGEST:
            raise invalid(path, f"it has {len(raw):,} bytes; a description has a few thousand")
        try:
            self._text = raw.decode("utf-8-sig")
            self.content: Any = json.loads(self._text, object_pairs_hook=self._object)
        except UnicodeDecodeError as error:
            raise invalid(path, f"it is not UTF-8 at byte {error.start}") from error
        except json.JSONDecodeError as error:
            raise invalid(
                path, f"it is not valid JSON: {error.msg} at column {error.colno}", line=error.lineno
            ) from error
        except UsageError:
            raise  # a key twice; it is a ValueError, too
        except (RecursionError, ValueError) as error:  # nesting, and integers of thousands of digits
            raise invalid(path, "it is nested too deeply or has a number too long to be read") from error

    def refuse(self, keys: Sequence[Key], what: str) -> UsageError:
        """Make the error of a value, by its keys from the top."""
        name = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
        return invalid(self.path, what, line=self._line(keys), key=name)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise invalid(
                self.path, "the key is there twice in one object", line=self._line_of_text(twice), key=twice
            )
        return found

    def _line_of_text(self, key: str) -> int | None:
        first = self._text.find(json.dumps(key, ensure_ascii=False))
        second = self._text.find(json.dumps(key, ensure_ascii=False), first + 1)
        return self._text.count("\n", 0, second) + 1 if second > 0 else None

    def _line(self, keys: Sequence[Key]) -> int | None:
        """Line of a value; YAML reads JSON, too, and knows where its nodes start."""
        try:
            node = yaml.compose(self._text.replace("\t", " "), Loader=BoundedLoader)
        except yaml.YAMLError:
            return None
        line = 1
        for key in keys:
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == key), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
                line = node.start_mark.line + 1
            else:
                break
        return line
