"""What belongs to a cohort or a release besides its series: images, viewer links, changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.select.selection import prepared
from segtools.select.sql.library import Library

if TYPE_CHECKING:
    import pyarrow as pa

    from segtools.select.cohort_spec import CohortSpec
    from segtools.select.engines.base import Engine
    from segtools.select.engines.sources import Sources


def source_series(spec: CohortSpec, sources: Sources | None = None, engine: Engine | None = None) -> pa.Table:
    """The image series that a cohort's segmentations belong to, with storage URL and size.

    Errors as in `segtools.select.selection.select`.
    """
    return _ask("sources", spec, sources, engine)


def viewer_links(spec: CohortSpec, sources: Sources | None = None, engine: Engine | None = None) -> pa.Table:
    """A link to IDC's viewers for each series of a cohort; own archives have none."""
    return _ask("viewer", spec, sources, engine)


def _ask(query: str, spec: CohortSpec, sources: Sources | None, engine: Engine | None) -> pa.Table:
    with prepared(spec, sources, engine) as (session, values, library):
        return session.run(query, values, library).table


def changes(
    before: int, after: int | str, sources: Sources, engine: Engine, library: Library | None = None
) -> pa.Table:
    """The segmentation series added, revised or retired between two IDC releases.

    Parameters
    ----------
    before : int
    after : int or "latest"
    sources, engine
    library : Library, optional

    Returns
    -------
    pyarrow.Table
        ``change`` (added, revised, retired), keys, both content ids, ``size_bytes`` to fetch.

    Raises
    ------
    SelectError
        ``version-unknown``.
    """
    if isinstance(after, str):
        with engine.open(sources, after) as session:
            after = session.facts.idc_version or before
    with engine.open(sources, after, releases=(before, after)) as session:
        return session.run("release", {"idc_version": after}, library or Library()).table
