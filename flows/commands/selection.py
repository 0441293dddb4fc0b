"""Commands that ask the tables: select, structures, release, schema."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from flows.commands.options import Where, select_cohort
from flows.console import note, print_json, print_table
from flows.formats import Format, table_text, write_table
from segtools.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

_KEYS = ("collection_id", "patient_id", "seg_series_uid")
_SHOWN = {
    "series": (*_KEYS, "size_bytes", "license", "series_url"),
    "segments": (*_KEYS, "segment_number", "type_meaning"),
    "sources": (),
    "viewer": (*_KEYS, "viewer_url"),
}


_ENDINGS: dict[str, Format] = {".csv": "csv", ".json": "json", ".s5cmd": "s5cmd"}


def select(
    cohort: str,
    /,
    *,
    of: Literal["series", "segments", "sources", "viewer"] = "series",
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    format: Format | None = None,
    limit: int = 50,
    where: Where = Where(),
    json: bool = False,
) -> None:
    """The series a cohort selects, as a table; or its segments, source images, viewer links.

    Parameters
    ----------
    cohort
        Cohort file, or the name of one in config/cohorts.
    of
        The segmentation series; the segments that match; the series of the segmented images; links
        to IDC's viewers.
    output
        Write the whole table there; the name's end tells the format: .csv, .json, .s5cmd, else Parquet.
    format
        How to write or print: csv, json and parquet have all rows and columns; s5cmd is a manifest of
        copy commands for `s5cmd run`.
    limit
        Rows to print for people; all other formats have all rows.
    where
        Sources and settings.
    json
        Machine-readable output, as --format json.
    """
    table = _table(cohort, of, where)
    shown = [name for name in _SHOWN[of] if name in table.column_names] or table.column_names
    _give(table, format, output, json=json, shown=shown, limit=limit)


def _give(
    table: pa.Table,
    wanted: Format | None,
    output: Path | None,
    *,
    json: bool,
    shown: Sequence[str],
    limit: int,
) -> None:
    """Write a table to a file or to stdout, in the format asked for."""
    if output is not None:
        write_table(table, wanted or _ENDINGS.get(output.suffix.lower(), "parquet"), output)
        note(f"{table.num_rows:,} rows in {output}")
        return
    made: Format = wanted or ("json" if json else "table")
    if made == "table":
        print_table(table.select(list(shown)), as_json=False, limit=limit)
    elif made == "json":
        print_table(table, as_json=True)
    else:
        sys.stdout.write(table_text(table, made))


def _table(cohort: str, of: str, where: Where) -> pa.Table:
    if of in ("series", "segments"):
        _, _, selection = select_cohort(cohort, where)
        table = selection.series if of == "series" else selection.segments
        if table is None:
            raise SpecError(
                "spec-invalid",
                f"{cohort}: the cohort names no structures or other segment filters, so all segments match"
                " and none were asked for.",
                hint="Add a filter such as `structures`, or see `idcseg structures` for what there is.",
                key="structures",
            )
        return table
    from segtools.select import load_spec, source_series, viewer_links

    settings, spec = where.settings(), load_spec(cohort)
    ask = source_series if of == "sources" else viewer_links
    table = ask(spec, settings.make_sources(spec, where.index), settings.make_engine())
    if of == "sources" and not table.num_rows:
        note("no table at hand names the source images: an index of your own or `idcseg mirror` does")
    return table


def structures(
    like: str | None = None, /, *, limit: int = 50, where: Where = Where(), json: bool = False
) -> None:
    """What a cohort can ask for: structures and their codes, with counts.

    Parameters
    ----------
    like
        Part of a name, or a code.
    limit
        Rows to print for people; --json prints all.
    where
        Sources and settings.
    json
        Machine-readable output.
    """
    from segtools.select import structures as ask

    settings = where.settings()
    table = ask(settings.make_sources(None, where.index), settings.make_engine(), like)
    print_table(table, as_json=json, limit=None if json else limit)


def list_names(
    what: str, like: str | None = None, /, *, limit: int = 50, where: Where = Where(), json: bool = False
) -> None:
    """Names that a cohort file can use, with counts.

    Parameters
    ----------
    what
        collections, analysis-results, licenses, dois, cancer-types, tumor-locations, species, algorithms,
        structures; or columns: the tables and columns that `idcseg query` reads.
    like
        Part of a name, or a pattern as tcga_*.
    limit
        Rows to print for people; --json prints all.
    where
        Sources and settings.
    json
        Machine-readable output.
    """
    from segtools.select import listing

    settings = where.settings()
    table = listing(what, settings.make_sources(None, where.index), settings.make_engine(), like)
    print_table(table, as_json=json, limit=None if json else limit)


def query(
    sql: str,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    format: Format | None = None,
    limit: int = 50,
    where: Where = Where(),
    json: bool = False,
) -> None:
    """Rows of your own SQL over the tables that cohorts are selected from; see docs/tables.md.

    Parameters
    ----------
    sql
        One SELECT in GoogleSQL, as "SELECT Modality, COUNT(*) AS n FROM series_index GROUP BY Modality".
    output
        Write all rows there; the name's end tells the format: .csv, .json, else Parquet.
    format
        How to write or print: csv, json and parquet have all rows.
    limit
        Rows to print for people.
    where
        Sources and settings.
    json
        Machine-readable output, as --format json.
    """
    from segtools.select import query as ask

    settings = where.settings()
    table = ask(sql, settings.make_sources(None, where.index), settings.make_engine())
    _give(table, format, output, json=json, shown=table.column_names, limit=limit)


def release(
    before: int,
    after: int | None = None,
    /,
    *,
    limit: int = 50,
    where: Where = Where(),
    json: bool = False,
) -> None:
    """What changed between two IDC releases: segmentation series added, revised, retired.

    Parameters
    ----------
    before
        The earlier release.
    after
        The later one; default: the newest.
    limit
        Rows to print for people; --json prints all.
    where
        Sources and settings.
    json
        Machine-readable output.
    """
    import pyarrow.compute as pc

    from segtools.select import Sources, changes

    settings = where.settings()
    sources = Sources(idc=True, mirror=settings.sources.mirror.expanduser())
    table = changes(before, "latest" if after is None else after, sources, settings.make_engine())
    if not json:
        counts = pc.value_counts(table["change"].combine_chunks()).to_pylist()
        note(", ".join(f"{entry['counts']:,} {entry['values']}" for entry in counts) or "nothing changed")
    print_table(table, as_json=json, limit=None if json else limit)


def schema() -> None:
    """JSON Schema of cohort files, for editors."""
    from segtools.select import json_schema

    print_json(json_schema())
