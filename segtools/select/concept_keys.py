"""From the names and codes of a cohort file to the keys that the tables hold.

The tables are asked once for the concepts that occur together (`queries/concepts`); which names those have
is decided by `segtools.terminology` alone. SQL compares keys, it knows no names.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from segtools.errors import SelectError
from segtools.select.filters import CohortCode, code_of
from segtools.select.sql.library import Library
from segtools.terminology.concepts import Concept
from segtools.terminology.laterality import SIDES
from segtools.terminology.names import (
    close_matches,
    did_you_mean,
    is_pattern,
    matching,
    slug,
)
from segtools.terminology.snomed import current_key, equivalent_codes
from segtools.terminology.structures import spellings, structure_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from segtools.select.engines.base import Engine, Session
    from segtools.select.engines.sources import Sources

PREFIXES = {"structures": "type", "categories": "category", "regions": "region"}


@dataclass(frozen=True)
class Keys:
    """What one entry of a filter stands for in the tables.

    Attributes
    ----------
    codes : tuple of str
        ``scheme:value``, of any side, or ``scheme:value/side``.
    concepts : tuple of str
        ``concept_key`` of `queries/segment_meanings`.
    """

    codes: tuple[str, ...] = ()
    concepts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Concepts:
    """The coded meanings that occur in the tables, one row for each that occur together."""

    rows: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, session: Session, library: Library, query: str = "concepts", **values: Any) -> Concepts:
        """Ask the tables."""
        return cls(tuple(session.run(query, values, library).table.to_pylist()))

    @cached_property
    def meanings(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """``type``/``category``/``region`` → key ``scheme:value`` → the meanings written for it."""
        found: dict[str, dict[str, set[str]]] = {prefix: {} for prefix in PREFIXES.values()}
        for row in self.rows:
            for prefix, known in found.items():
                concept = _concept(row, prefix)
                if concept is not None and concept.scheme and concept.value:
                    known.setdefault(_key(concept), set()).update({concept.meaning} - {""})
        return {
            prefix: {key: tuple(sorted(texts)) for key, texts in known.items()}
            for prefix, known in found.items()
        }

    @cached_property
    def by_name(self) -> Mapping[str, frozenset[str]]:
        """Name of a structure, its own or a broader one → the ``concept_key`` it stands for.

        Codes count, not their spelling: a concept has the names of every meaning that the tables write beside
        its code or an equivalent one.
        """
        kinds, regions = (self._spelled(prefix) for prefix in ("type", "region"))
        known: dict[str, set[str]] = {}
        for row in self.rows:
            category = _concept(row, "category")
            names = {
                name
                for kind in kinds[_group(_concept(row, "type"))]
                for region in regions[_group(_concept(row, "region"))]
                for name in structure_names(kind, category, region, row["laterality"])
            }
            for name in names:
                known.setdefault(name, set()).add(row["concept_key"])
        return {name: frozenset(keys) for name, keys in known.items()}

    def _spelled(self, prefix: str) -> Mapping[str, set[Concept | None]]:
        """Current code → the concepts as written with it or an equivalent code."""
        spelled: dict[str, set[Concept | None]] = {}
        for row in self.rows:
            concept = _concept(row, prefix)
            spelled.setdefault(_group(concept), set()).add(concept)
        return spelled

    def keys(self, filter_name: str, wanted: CohortCode | str) -> Keys:
        """What a name or code of the filter `filter_name` stands for.

        Raises
        ------
        SelectError
            ``unknown-structure``, with near matches.
        """
        known = self.meanings[PREFIXES[filter_name]]
        if isinstance(wanted, CohortCode):
            keys = code_keys(wanted)
            if not any(key.partition("/")[0] in known for key in keys.codes):
                raise self.unknown(filter_name, str(wanted), wanted.value)
            return keys
        if filter_name == "structures":
            found = sorted({key for name in self.names(wanted) for key in self.by_name[name]})
            if found:
                return Keys(concepts=tuple(found))
        elif codes := self._coded(known, wanted):
            return Keys(codes=codes)
        raise self.unknown(filter_name, wanted, wanted)

    def concept_keys(self, wanted: CohortCode | str) -> list[str]:
        """The ``concept_key`` that a structure's name or code stands for; errors as `keys`."""
        found = self.keys("structures", wanted)
        if found.concepts:
            return list(found.concepts)
        codes = set(found.codes)
        return [
            row["concept_key"]
            for row in self.rows
            if (key := f"{row['type_scheme']}:{row['type_code']}") in codes
            or f"{key}/{row['laterality']}" in codes
        ]

    def names(self, wanted: str) -> list[str]:
        """The names of structures that a name or a pattern (``prostate*``) stands for; none where unknown."""
        if is_pattern(wanted):
            return matching(wanted, self.by_name)
        return next(([name] for name in spellings(wanted) if name in self.by_name), [])

    def labels(self, wanted: Mapping[str, int]) -> dict[str, int]:
        """The label of each structure that occurs, by the most specific of its names that has one.

        Parameters
        ----------
        wanted : mapping of str to int
            Name or pattern → label, as `output.labels` has them.

        Returns
        -------
        dict of str to int
            A structure's own name, as in the catalog → label.

        Raises
        ------
        SelectError
            ``unknown-structure``: a name that does not occur.
        """
        of_name: dict[str, int] = {}
        for name, label in wanted.items():
            names = self.names(name)
            if not names:
                raise self.unknown("structures", name, name, "output.labels")
            for found in names:
                # A name written out wins over a pattern that matches it too.
                if not (is_pattern(name) and found in of_name):
                    of_name[found] = label
        made: dict[str, int] = {}
        for row in self.rows:
            kind, category, region = (_concept(row, prefix) for prefix in PREFIXES.values())
            own, *broader = structure_names(kind, category, region, row["laterality"])
            known = [name for name in (own, *broader) if name in of_name]
            # Other spellings of the same code count last: "ren" for what is written "kidney".
            known += sorted(name for name in of_name if row["concept_key"] in self.by_name[name])
            if known:
                made[own] = of_name[known[0]]
        return made

    def type_codes(self, keys: Iterable[str]) -> list[str]:
        """Code values of the types of these ``concept_key``; none where a type has no code."""
        wanted = set(keys)
        codes = {row["type_code"] for row in self.rows if row["concept_key"] in wanted}
        return [] if None in codes else sorted(codes)

    def _coded(self, known: Mapping[str, tuple[str, ...]], wanted: str) -> tuple[str, ...]:
        """Keys of a category's or region's name, with its side (``lung_left``) where it has one."""
        texts = {slug(text) for meanings in known.values() for text in meanings}
        for name in spellings(wanted):
            for side in ("", *SIDES):
                base = name.removesuffix(f"_{side}") if side else name
                names = set(matching(wanted, texts)) if is_pattern(wanted) else {base} & texts
                found = [key for key, meanings in known.items() if names & {slug(text) for text in meanings}]
                if found and (not side or base != name):
                    end = f"/{side}" if side else ""
                    return tuple(
                        sorted(
                            {f"{code}{end}" for key in found for code in equivalent_codes(*key.split(":", 1))}
                        )
                    )
        return ()

    def unknown(self, filter_name: str, shown: str, like: str, key: str | None = None) -> SelectError:
        """The refusal of what does not occur, with what is like it."""
        known = self.meanings[PREFIXES[filter_name]]
        current_last = sorted(known, key=lambda key: current_key(key) == key)
        by_text = {text: key for key in current_last for text in (*known[key], key.partition(":")[2])}
        names = self.by_name if filter_name == "structures" else {}
        close = []
        for text in close_matches(like, [*by_text, *names]):
            if text not in by_text:
                close.append(text)
                continue
            scheme, _, value = by_text[text].partition(":")
            meaning = next(iter(known[by_text[text]]), "no meaning")
            close.append(f"{meaning} ({value}, {scheme})")
        close = list(dict.fromkeys(close))
        codes = sorted(key for key in known if key.partition(":")[2] == like)
        if codes:
            hint = f'A code is written with its scheme: "{current_key(codes[0])}".'
        else:
            hint = did_you_mean(close) or "`idcseg structures` lists what there is."
        return SelectError(
            "unknown-structure",
            f"{key or filter_name}: {shown!r} does not occur.",
            hint=hint,
            key=key or filter_name,
            near=close,
        )


def code_keys(code: CohortCode) -> Keys:
    """Keys of a code and its equivalents, with the side where one is asked for."""
    side = f"/{code.laterality}" if code.laterality else ""
    return Keys(codes=tuple(f"{key}{side}" for key in equivalent_codes(code.scheme, code.value)))


def _concept(row: Mapping[str, Any], prefix: str) -> Concept | None:
    value, scheme, meaning = (row[f"{prefix}_{part}"] or "" for part in ("code", "scheme", "meaning"))
    return Concept(value, scheme, meaning) if value or scheme or meaning else None


def _key(concept: Concept) -> str:
    return f"{concept.scheme}:{concept.value}"


def _group(concept: Concept | None) -> str:
    if concept is None:
        return ""
    return current_key(_key(concept)) if concept.scheme and concept.value else concept.meaning


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
        Only names that contain or resemble this, or match it as a pattern; or a code, ``SCT:10200004``
        or its value alone, of a type, category or region.

    Returns
    -------
    pyarrow.Table
        ``structure`` (the name that a dataset has and a cohort file takes), codes, side,
        ``segment_count``, ``series_count``.

    Raises
    ------
    SelectError
        ``source-missing``: no source has segments.
    """
    with engine.open(sources, idc_version) as session:
        require_segments(session, "`structures`")
        rows = session.run("structures", {}, Library()).table.to_pylist()
    for row in rows:
        kind, category, region = (_concept(row, prefix) for prefix in PREFIXES.values())
        row["structure"] = structure_names(kind, category, region, row["laterality"])[0]
    if like is not None:
        rows = _like(rows, like)
    return pa.Table.from_pylist(rows, schema=STRUCTURES_SCHEMA)


def _like(rows: list[dict[str, Any]], like: str) -> list[dict[str, Any]]:
    code = code_of(like)
    if code is not None:
        keys = set(equivalent_codes(code.scheme, code.value))
        return [
            row
            for row in rows
            if any(f"{row[f'{p}_scheme']}:{row[f'{p}_code']}" in keys for p in PREFIXES.values())
            and code.laterality in (None, row["laterality"])
        ]
    valued = [row for row in rows if any(row[f"{prefix}_code"] == like for prefix in PREFIXES.values())]
    if valued:
        return valued
    if is_pattern(like):
        names = set(matching(like, {row["structure"] for row in rows}))
        return [row for row in rows if row["structure"] in names]
    texts = [
        {row["structure"], slug(row["type_meaning"] or ""), slug(row["region_meaning"] or "")} for row in rows
    ]
    close = {slug(name) for name in close_matches(like, {text for item in texts for text in item}, limit=20)}
    wanted = {name for name in spellings(like) if name}
    return [
        row
        for row, names in zip(rows, texts, strict=True)
        if close & names or any(name in text for name in wanted for text in names)
    ]


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
