"""Names in a cohort file against what the tables hold: resolved, or refused with near matches.

Names of things (collections, results, licences, DOIs, algorithms) must exist, in the filters as in `exclude`:
an excluded licence that is misspelt would let through what nobody may use. Identifiers (patients, studies,
series) come and go with releases, so those that match nothing are warned of, and refused only where none of
a list matches.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from segtools.errors import SelectError
from segtools.select.filters import (
    COMMERCIAL,
    NONCOMMERCIAL,
    SegmentFilters,
    SeriesFilters,
    filters,
)
from segtools.select.sql.conditions import reading_like
from segtools.terminology.licenses import allows_commercial_use, belongs_to, is_noncommercial
from segtools.terminology.names import (
    close_matches,
    did_you_mean,
    is_pattern,
    matching,
    slug,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from segtools.select.cohort_spec import CohortSpec
    from segtools.select.engines.base import Session
    from segtools.select.sql.library import Library

_IDENTIFIERS = ("patients", "studies", "series_uids", "crdc_series_uuids")


class KnownNames:
    """What exists, asked for once and only where a cohort names something."""

    def __init__(self, spec: CohortSpec, session: Session, library: Library) -> None:
        self._spec, self._session, self._library = spec, session, library
        version = session.facts.idc_version
        self._release: dict[str, Any] = {} if version is None else {"idc_version": version}
        self._known: dict[str, set[str]] | None = None
        self.resolved: dict[str, dict[str, list[str]]] = {}
        """Key (``exclude_`` before those of `exclude`) → item as written → the names it stands for."""
        self.warnings: list[str] = []

    def values(self, *, look_up: bool = True) -> dict[str, Any]:
        """Parameter values of the keys about series: names resolved, everything else as it is.

        Parameters
        ----------
        look_up : bool
            False takes names as they are: an estimate must not run a query that costs.

        Raises
        ------
        SelectError
            ``unknown-collection``, ``no-match``: a name that does not exist.
        """
        values: dict[str, Any] = {}
        for key, given in self._spec.series_filters.items():
            made = filters("series")[key.removeprefix("exclude_")]
            if made.terms and look_up:
                resolved = {item: self._names(key, item) for item in given}
                self.resolved[key] = resolved
                values[key] = sorted({name for names in resolved.values() for name in names})
            else:
                values[key] = plain_value(given)
        if look_up:
            self._check_excluded_identifiers()
        return values

    def check_algorithms(self, segments: pa.Table | None) -> None:
        """Refuse algorithms that do not occur; those of the cohort's own segments need not be looked up.

        Raises
        ------
        SelectError
            ``no-match``.
        """
        wanted = self._spec.algorithm_names
        found = set() if segments is None else set(segments["algorithm_name"].unique().to_pylist())
        if not (lost := _not_among(wanted, found)):
            return
        rows = (
            self._session.run("algorithms", self._release, self._library).table["algorithm_name"].to_pylist()
        )
        for item in _not_among(lost, set(rows)):
            raise _unknown("algorithm_names", "algorithm", item, {name for name in rows if name})
        if segments is not None and self._spec.sample is None:
            self.warnings += [
                f"algorithm_names: no segment by {item!r} passes the other filters." for item in lost
            ]

    def note_absent(self, rows: pa.Table) -> None:
        """Warn of what was asked for and is not among the cohort's rows."""
        columns = {
            "collections": "collection_id",
            "analysis_results": "analysis_result_id",
            "licenses": "license",
            "dois": "source_doi",
        }
        for key, column in columns.items():
            there = set(rows[column].unique().to_pylist())
            for item, names in self.resolved.get(key, {}).items():
                if there.isdisjoint(names):
                    self.warnings.append(f"{key}: no series of {item!r} passes the other filters.")
        of = dict(
            zip(_IDENTIFIERS, ("patient_id", "study_uid", "seg_series_uid", "crdc_series_uuid"), strict=True)
        )
        for key, column in of.items():
            there = set(rows[column].unique().to_pylist())
            self._note_lost(key, [item for item in getattr(self._spec, key) if item not in there])

    def _names(self, key: str, item: str) -> list[str]:
        plain = key.removeprefix("exclude_")
        known = self._terms().get(plain, set())
        if item in known:
            return [item]
        if is_pattern(item):
            names = matching(item, known)
        elif filters("series")[plain].is_listed:
            names = [name for name in known if slug(item) in map(slug, name.split(","))]
        elif plain == "licenses":
            names = _licenses(item, known)
        else:
            names = []
        if not names:
            shown = key.replace("exclude_", "exclude.")
            raise _unknown(shown, filters("series")[plain].terms, item, known)
        return names

    def _terms(self) -> Mapping[str, set[str]]:
        if self._known is None:
            self._known = {}
            for row in self._session.run("series_terms", self._release, self._library).table.to_pylist():
                self._known.setdefault(row["kind"], set()).add(row["term"])
        return self._known

    def _check_excluded_identifiers(self) -> None:
        for key in _IDENTIFIERS:
            unwanted = getattr(self._spec.exclude, key)
            if not unwanted:
                continue
            column = filters("series")[key].column
            found = self._session.run(
                "identifiers", {**self._release, key: list(unwanted)}, self._library
            ).table[column]
            there = set(found.to_pylist())
            lost = [item for item in unwanted if item not in there]
            if len(lost) == len(unwanted):
                every = (
                    self._session.run("identifiers", self._release, self._library).table[column].to_pylist()
                )
                raise _unknown(f"exclude.{key}", _SINGULAR[key], lost[0], set(every))
            self._note_lost(f"exclude.{key}", lost)

    def _note_lost(self, key: str, lost: Sequence[str]) -> None:
        if lost:
            shown = ", ".join(lost[:5]) + (" …" if len(lost) > 5 else "")
            self.warnings.append(f"{key}: {len(lost)} of those named match nothing: {shown}.")


_SINGULAR = dict(zip(_IDENTIFIERS, ("patient", "study", "series", "series version"), strict=True))


def plain_value(given: Any) -> Any:
    """A value of a cohort file as a parameter takes it: lists, numbers, mappings of ``min`` and ``max``."""
    if isinstance(given, tuple):
        return list(given)
    return given.model_dump(mode="json") if hasattr(given, "model_dump") else given


def given_filters(spec: CohortSpec) -> list[str]:
    """The keys of a cohort that filter."""
    keys = (*SeriesFilters.model_fields, *SegmentFilters.model_fields)
    return [name for name in keys if getattr(spec, name)]


def _not_among(wanted: Sequence[str], names: set[str | None]) -> list[str]:
    """The names and patterns that stand for none of `names`, upper and lower case alike."""
    there = [name.lower() for name in names if name]
    return [item for item in wanted if not any(re.match(reading_like([item]), name) for name in there)]


def _licenses(item: str, known: set[str]) -> list[str]:
    """The licences that a kind or family stands for."""
    if item == COMMERCIAL:
        return sorted(name for name in known if allows_commercial_use(name))
    if item == NONCOMMERCIAL:
        return sorted(name for name in known if is_noncommercial(name))
    return sorted(name for name in known if belongs_to(name, item))


def _unknown(key: str, what: str, item: str, known: set[str]) -> SelectError:
    close = close_matches(item, known)
    code = "unknown-collection" if what in ("collection", "analysis result") else "no-match"
    listed = "" if what in _SINGULAR.values() else f"There are {', '.join(sorted(known)[:20])}."
    hint = did_you_mean(close) or listed or None
    return SelectError(code, f"{key}: no {what} {item!r} has segmentations.", hint=hint, key=key, near=close)
