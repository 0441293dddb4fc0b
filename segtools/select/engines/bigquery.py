"""The BigQuery engine: the library's queries as they are, on IDC's public tables.

Every query is dry-run first, capped in bytes and labelled; the release is pinned to its own
dataset; columns that a release lacks are probed and read as null (`segtools.select.engines.schema_drift`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segtools.errors import SelectError
from segtools.select.engines.bigquery_jobs import Jobs, resolve
from segtools.select.engines.bigquery_options import BigQueryOptions
from segtools.select.engines.bigquery_session import BigQuerySession

if TYPE_CHECKING:
    from segtools.select.engines.sources import Sources


@dataclass(frozen=True)
class BigQueryEngine(BigQueryOptions):
    """BigQuery through the official client; parameters: `BigQueryOptions`."""

    def open(
        self,
        sources: Sources,
        idc_version: int | str = "latest",
        *,
        releases: tuple[int, int] | None = None,
        labelmaps: bool = True,
    ) -> BigQuerySession:
        """Resolve the release and probe its tables; see `segtools.select.engines.base.Engine`.

        Raises
        ------
        EnvironmentProblem
            ``credentials-missing``, ``query-refused``, ``query-unavailable``.
        SelectError
            ``version-unknown``, ``table-invalid``, ``source-missing`` (an own index was named).
        """
        if sources.indexes or not sources.idc:
            raise SelectError(
                "source-missing",
                "BigQuery holds IDC only; an index of your own needs the embedded engine.",
                hint="Set select.engine to duckdb, or leave source.index out.",
            )
        jobs = Jobs(self)
        version = resolve(jobs, self.dataset_project, idc_version, releases)
        return BigQuerySession(self, jobs, version, releases, labelmaps)
