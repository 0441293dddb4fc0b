"""From the names and codes of a cohort file to the keys that the tables hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from segtools.errors import SelectError
from segtools.select.cohort_spec import Code
from segtools.select.sql.library import Library
from segtools.terminology.snomed import (
    SIDES,
    current_key,
    near,
    slug,
    twins,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segtools.select.engines.base import Engine, Session
    from segtools.select.engines.sources import Sources

PREFIXES = {"structures": "type", "categories": "category", "regions": "region"}


@dataclass(frozen=True)
class Concepts:
    """The coded meanings that occur in the tables.

    Attributes
    ----------
    meanings : dict of str to dict of str to str
        ``type``/``category``/``region`` → key ``scheme:value`` → a meaning written for it.
    """

    meanings: Mapping[str, Mapping[str, tuple[str, ...]]]

    @classmethod
    def read(cls, session: Session, library: Library) -> Concepts:
        """Ask the tables."""
        rows = session.run("concepts", {}, library).table.to_pylist()
        meanings: dict[str, dict[str, tuple[str, ...]]] = {prefix: {} for prefix in PREFIXES.values()}
        for row in rows:
            for prefix, known in meanings.items():
                scheme, code, meaning = (row[f"{prefix}_{part}"] for part in ("scheme", "code", "meaning"))
                if scheme and code:
                    key = f"{scheme}:{code}"
                    known[key] = tuple(sorted({*known.get(key, ()), *([meaning] if meaning else [])}))
        return cls(meanings)

    def keys(self, filter_name: str, wanted: Code | str) -> list[str]:
        """The keys that a name or code of the filter `filter_name` stands for.

        Raises
        ------
        SelectError
            ``unknown-structure``, with near matches.
        """
        known = self.meanings[PREFIXES[filter_name]]
        if isinstance(wanted, Code):
            keys = code_keys(wanted)
            if not any(key.partition("/")[0] in known for key in keys):
                raise self._unknown(filter_name, str(wanted), wanted.value)
            return keys
        name = slug(wanted)
        candidates = [(name, "")]
        candidates += [
            (name.removesuffix(f"_{side}"), f"/{side}") for side in SIDES if name.endswith(f"_{side}")
        ]
        for base, side in candidates:
            found = [key for key, texts in known.items() if any(slug(text) == base for text in texts)]
            if found:
                return sorted({f"{twin}{side}" for key in found for twin in twins(*key.split(":", 1))})
        raise self._unknown(filter_name, wanted, wanted)

    def _unknown(self, filter_name: str, shown: str, like: str) -> SelectError:
        known = self.meanings[PREFIXES[filter_name]]
        current_last = sorted(known, key=lambda key: current_key(key) == key)
        by_text = {text: key for key in current_last for text in (*known[key], key.partition(":")[2])}
        close = []
        for text in near(like, by_text):
            scheme, _, value = by_text[text].partition(":")
            meaning = next(iter(known[by_text[text]]), "no meaning")
            close.append(f"{meaning} ({value}, {scheme})")
        close = list(dict.fromkeys(close))
        hint = f"Did you mean {', '.join(close)}?" if close else "`idcseg structures` lists what there is."
        return SelectError(
            "unknown-structure",
            f"{filter_name}: {shown!r} does not occur.",
            hint=hint,
            key=filter_name,
            near=close,
        )


def code_keys(code: Code) -> list[str]:
    """Keys of a code and its twins, with the side where one is asked for."""
    side = f"/{code.laterality}" if code.laterality else ""
    return [f"{key}{side}" for key in twins(code.scheme, code.value)]


STRUCTURES_SCHEMA = pa.schema(
    [
        ("structure", pa.string()),
        *((f"type_{part}", pa.string()) for part in ("code", "scheme", "meaning")),
        ("laterality", pa.string()),
        *(
            (f"{prefix}_{part}", pa.string())
            for prefix in ("category", "region")
            for part in ("code", "scheme", "meaning")
        ),
        ("segment_count", pa.int64()),
        ("series_count", pa.int64()),
    ]
)


def structures(
    sources: Sources, engine: Engine, like: str | None = None, idc_version: int | str = "latest"
) -> pa.Table:
    """What can be asked for: coded meanings with counts, the most frequent first.

    Parameters
    ----------
    sources, engine
    like : str, optional
        Only names that contain or resemble this.

    Returns
    -------
    pyarrow.Table
        ``structure`` (the name a cohort file takes), codes, side, ``segment_count``, ``series_count``.

    Raises
    ------
    SelectError
        ``source-missing``: no source has segments.
    """
    with engine.open(sources, idc_version) as session:
        require_segments(session, "`structures`")
        rows = session.run("structures", {}, Library()).table.to_pylist()
    for row in rows:
        row["structure"] = slug(row["type_meaning"] or row["type_code"] or "", row["laterality"])
    if like is not None:
        wanted = slug(like)
        close = {slug(name) for name in near(like, {row["type_meaning"] or "" for row in rows}, limit=20)}
        rows = [row for row in rows if wanted in row["structure"] or slug(row["type_meaning"] or "") in close]
    return pa.Table.from_pylist(rows, schema=STRUCTURES_SCHEMA)


def require_segments(session: Session, what: str) -> None:
    """Refuse to go on where a source has no segment-level rows.

    Raises
    ------
    SelectError
        ``source-missing``.
    """
    if not session.facts.has_segments:
        version = session.facts.idc_version
        raise SelectError(
            "source-missing",
            f"{what} needs the segments of IDC v{version}, which are not mirrored here; the series index that"
            " comes with idc-index-data knows no codes.",
            hint="Run `idcseg mirror` once, or select from an index of your own (`idcseg index`).",
        )
