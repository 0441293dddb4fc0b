"""Statements as BigQuery jobs: dry run, cap, run, Arrow."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from segtools.errors import SelectError
from segtools.select.engines.bigquery_errors import translated
from segtools.select.sql.statement import Statement

if TYPE_CHECKING:
    import pyarrow as pa
    from google.cloud import bigquery

    from segtools.select.engines.bigquery_options import BigQueryOptions

PAGE_ROWS = 50_000


class Jobs:
    """The jobs of one engine.

    Attributes
    ----------
    bytes_processed : int, bytes
        Of all jobs so far.
    """

    def __init__(self, engine: BigQueryOptions) -> None:
        self.engine = engine
        self.bytes_processed = 0

    @cached_property
    def client(self) -> bigquery.Client:
        """The official client, made when first needed."""
        with translated("client"):
            return _client(self.engine)

    def dry_run(self, made: Statement) -> bigquery.QueryJob:
        """A finished dry run: what the statement would read."""
        with translated(made.query):
            return self.client.query(made.sql, self._config(made, dry_run=True), **self._patience())

    def estimate(self, made: Statement) -> int:
        """Bytes that the statement would read."""
        return int(self.dry_run(made).total_bytes_processed or 0)

    def run(self, made: Statement) -> tuple[pa.Table, int, int, str | None]:
        """Rows, bytes estimated, bytes processed, job id."""
        estimated = self.estimate(made)
        limit = self.engine.maximum_bytes_billed
        if estimated > limit:
            raise SelectError(
                "query-too-expensive",
                f"Query {made.query!r} would read {estimated:,} bytes"
                f" (about ${estimated / 1024**4 * self.engine.price_usd_per_tib:.2f}), more than"
                f" the {limit:,} allowed.",
                bytes=estimated,
                limit=limit,
            )
        with translated(made.query):
            job = self.client.query(made.sql, self._config(made), **self._patience())
            rows = job.result(page_size=PAGE_ROWS, timeout=self.engine.timeout_s)
            table = rows.to_arrow(create_bqstorage_client=False)
        processed = int(job.total_bytes_processed or 0)
        self.bytes_processed += processed
        return table, estimated, processed, job.job_id

    def _config(self, made: Statement, *, dry_run: bool = False) -> bigquery.QueryJobConfig:
        from google.cloud import bigquery

        labels = {"application": "idcseg", **self.engine.labels, "query": made.query.replace(".", "_")[:63]}
        config = bigquery.QueryJobConfig(
            query_parameters=[parameter(name, *entry) for name, entry in made.parameters.items()],
            labels=labels,
            use_legacy_sql=False,
        )
        if dry_run:
            config.dry_run = True
        else:
            config.maximum_bytes_billed = self.engine.maximum_bytes_billed
        return config

    def _patience(self) -> dict[str, Any]:
        """How to wait; the client's own job retry would wrap ten more minutes around `timeout_s`."""
        from google.cloud.bigquery.retry import DEFAULT_RETRY

        retry = DEFAULT_RETRY.with_timeout(self.engine.timeout_s)
        return {"retry": retry, "job_retry": None, "location": self.engine.location}


def _client(engine: BigQueryOptions) -> bigquery.Client:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery
    from google.oauth2 import service_account

    credentials: Any = None
    if engine.credentials_file is not None:
        from_file: Any = service_account.Credentials.from_service_account_file
        credentials = from_file(engine.credentials_file, scopes=["https://www.googleapis.com/auth/bigquery"])
    elif engine.api_endpoint is not None:
        anonymous: Any = AnonymousCredentials
        credentials = anonymous()
    options = {"api_endpoint": engine.api_endpoint} if engine.api_endpoint is not None else None
    return bigquery.Client(engine.project, credentials, client_options=options, location=engine.location)


def parameter(
    name: str, kind: str, value: Any
) -> bigquery.ArrayQueryParameter | bigquery.ScalarQueryParameter:
    """A named parameter of a GoogleSQL type, ``ARRAY<STRING>`` or ``INT64``."""
    from google.cloud import bigquery

    if kind.startswith("ARRAY<"):
        return bigquery.ArrayQueryParameter(name, kind[6:-1], value)
    return bigquery.ScalarQueryParameter(name, kind, value)


def resolve(jobs: Jobs, project: str, wanted: int | str, releases: tuple[int, int] | None) -> int:
    """The release asked for, of those that exist."""
    made = Statement("versions", f"SELECT idc_version FROM `{project}.idc_current.version_metadata`", {})
    known = {int(value) for value in jobs.run(made)[0]["idc_version"].to_pylist() if value is not None}
    if not known:
        raise SelectError("table-invalid", f"{project}.idc_current.version_metadata names no release.")
    version = max(known) if wanted == "latest" else int(wanted)
    for asked in (version, *(releases or ())):
        if asked not in known:
            raise SelectError(
                "version-unknown",
                f"IDC v{asked} does not exist; there are v{min(known)} to v{max(known)}.",
                version=asked,
            )
    return version
