"""Reading a cohort file: YAML with line numbers in every complaint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml
from pydantic import ValidationError

from segtools.bounded_yaml import MOST_NODES, BoundedLoader
from segtools.errors import MissingError, SpecError
from segtools.resources import folder
from segtools.select.cohort_spec import CohortSpec
from segtools.select.filters import SegmentFilters, SeriesFilters
from segtools.select.value_lists import fill_lists
from segtools.terminology.names import close_matches

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST_FILE_BYTES = 16 * 1024**2
_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

Lines = dict[tuple[str | int, ...], int]


def load_spec(path: Path | str) -> CohortSpec:
    """The cohort of a YAML file; its name is the file's.

    Paths in it become absolute, but not in the copy that a dataset keeps: they are relative to where the
    original was, and nobody wrote that down.

    Parameters
    ----------
    path : Path or str
        A file, or the name of a cohort in `config/cohorts`.

    Raises
    ------
    MissingError
        ``not-found``.
    SpecError
        ``spec-unreadable``, ``spec-invalid``; attributes ``path``, ``line``, ``key``.
    """
    path = cohort_file(path)
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError("spec-unreadable", f"{path}: {error}.", path=str(path)) from error
    if len(raw) > LARGEST_FILE_BYTES:
        raise SpecError(
            "spec-unreadable", f"{path} is larger than {LARGEST_FILE_BYTES} bytes.", path=str(path)
        )
    is_copy = path.name == "cohort.yaml" and (path.parent / "dataset.json").is_file()
    return parse_spec(text, path.stem, str(path), None if is_copy else path.parent)


def parse_spec(text: str, name: str = "cohort", path: str = "<text>", base: Path | None = None) -> CohortSpec:
    """The cohort of a YAML text; paths in it are relative to `base`; errors as in `load_spec`."""
    content, lines = read_yaml(text, path)
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise _invalid(path, 1, "", "the file must be a mapping of keys")
    if "name" in content:
        raise _invalid(path, lines[("name",)], "name", "a cohort is named by its file; remove the key")
    try:
        content = fill_lists(content, base)
    except SpecError as error:
        key = str(error.attrs["key"])
        line = lines.get(tuple(key.split(".")))
        raise _invalid(path, line, "", error.message.removesuffix(".")) from error
    try:
        spec = CohortSpec.model_validate({**content, "name": name})
    except ValidationError as error:
        raise _explain(error, lines, path) from None
    return spec if base is None else _anchor(spec, base.resolve())


def _anchor(spec: CohortSpec, base: Path) -> CohortSpec:
    """`spec` with its relative paths made absolute; a query's bare name stays one."""
    source = spec.source.model_copy(update={"index": tuple(str(base / path) for path in spec.source.index)})
    query = spec.query
    if query is not None and (base / query.folder).is_dir():
        query = query.model_copy(update={"folder": str(base / query.folder)})
    return spec.model_copy(update={"source": source, "query": query})


def read_yaml(text: str, path: str) -> tuple[Any, Lines]:
    """The plain value of a YAML text and the line of each key; duplicate keys are refused.

    Raises
    ------
    SpecError
        ``spec-unreadable``.
    """
    loader: BoundedLoader | None = None
    try:
        loader = BoundedLoader(text)
        node = loader.get_single_node()
        lines: Lines = {}
        value = None if node is None else _Builder(loader, lines, path).build(node, ())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else None
        problem = getattr(error, "problem", None) or str(error)
        raise SpecError("spec-unreadable", f"{path}:{line}: {problem}.", path=path, line=line) from error
    except SpecError:
        raise
    except ValueError as error:
        raise SpecError("spec-unreadable", f"{path}: {error}.", path=path) from error
    finally:
        if loader is not None:
            loader.dispose()
    return value, lines


class _Builder:
    """Nodes to plain values, noting lines; aliases are counted each time, so none can explode."""

    def __init__(self, loader: BoundedLoader, lines: Lines, path: str) -> None:
        self._loader, self._lines, self._path, self._nodes = loader, lines, path, 0

    def build(self, node: yaml.Node, place: tuple[str | int, ...]) -> Any:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise ValueError(f"more than {MOST_NODES} values")
        self._lines.setdefault(place, node.start_mark.line + 1)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
            raise ValueError(f"line {node.start_mark.line + 1}: the tag {node.tag} is not allowed")
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*place, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        return self._loader.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, place: tuple[str | int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise _invalid(self._path, line, "", "a key must be plain text")
            if key in result:
                first = self._lines[(*place, key)]
                message = f"the key {key!r} is given twice (first in line {first})"
                raise _invalid(self._path, line, key, message)
            self._lines[(*place, key)] = line
            result[key] = self.build(value_node, (*place, key))
        return result


def cohort_file(path: Path | str) -> Path:
    """The file of a cohort, given as a path or by its name in `config/cohorts`.

    Raises
    ------
    MissingError
        ``not-found``, with near matches.
    """
    given = Path(path)
    if given.is_file():
        return given
    cohorts = folder("config") / "cohorts"
    names = sorted(file.stem for file in cohorts.glob("*.yaml"))
    if str(path) in names:
        return cohorts / f"{path}.yaml"
    hint = f"Did you mean {', '.join(close)}?" if (close := close_matches(given.stem, names)) else None
    raise MissingError("not-found", f"There is no cohort file {str(path)!r}.", hint=hint, name=str(path))


def _invalid(path: str, line: int | None, key: str, message: str) -> SpecError:
    where = f"{path}:{line}" if line else path
    what = f"{key}: {message}" if key else message
    return SpecError("spec-invalid", f"{where}: {what}.", path=path, line=line, key=key)


def _explain(error: ValidationError, lines: Lines, path: str) -> SpecError:
    problems: list[tuple[int | None, str, str]] = []
    for item in error.errors(include_url=False, include_context=False):
        place = _place(item["loc"], lines)
        key = ".".join(str(part) for part in place)
        if item["type"] == "extra_forbidden":
            message = "unknown key" + _suggest(str(item["loc"][-1]), place)
        else:
            message = item["msg"].removeprefix("Value error, ")
        problem = (lines.get(place), key, message)
        if (problem[0], problem[1]) not in [(line, known) for line, known, _ in problems]:
            problems.append(problem)
    problems.sort(key=lambda problem: (problem[0] is None, problem[0] or 0))
    line, key, message = problems[0]
    for later_line, later_key, later in problems[1:10]:
        message += f"; line {later_line}: {later_key}: {later}"
    return _invalid(path, line, key, message)


def _place(location: Iterable[str | int], lines: Lines) -> tuple[str | int, ...]:
    """The part of a pydantic location that is a place of the file (not a union's member name)."""
    place: tuple[str | int, ...] = ()
    for part in location:
        if (*place, part) in lines:
            place = (*place, part)
    return place


def _suggest(key: str, place: tuple[str | int, ...]) -> str:
    model: Any = CohortSpec
    for part in place[:-1]:
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        kinds = () if field is None else get_args(field.annotation) or (field.annotation,)
        model = next((kind for kind in kinds if hasattr(kind, "model_fields")), None)
    known = set(getattr(model, "model_fields", {})) - {"name"}
    close = close_matches(key, known)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(sorted(known))}" if known else ""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of cohort files, for editors; kept in `config/cohorts/cohort.schema.json`."""
    schema = CohortSpec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Cohort of segmentations"
    schema["$defs"]["FromFile"] = {
        "description": "The values of a file: CSV, TSV, Parquet, a plain list, an s5cmd manifest.",
        "type": "object",
        "properties": {"file": {"type": "string"}, "column": {"type": "string"}},
        "required": ["file"],
        "additionalProperties": False,
    }
    for part in (schema, schema["$defs"]["Exclude"]):
        for key in part["properties"].keys() & {*SeriesFilters.model_fields, *SegmentFilters.model_fields}:
            part["properties"][key] = _or_one(part["properties"][key])
    return schema


def _or_one(entry: dict[str, Any]) -> dict[str, Any]:
    """A list's schema that also allows one value alone, and the values of a file."""
    if entry.get("type") != "array":
        return entry
    listed = {key: entry[key] for key in ("type", "items")} | {"minItems": 1}
    rest = {key: value for key, value in entry.items() if key not in listed}
    return {"anyOf": [entry["items"], listed, {"$ref": "#/$defs/FromFile"}], **rest}


def json_schema_text() -> str:
    """The schema file's content."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
