"""How BigQuery is asked: project, caps, prices, labels."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from segtools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

USD_PER_TIB = 6.25
"""On-demand price of BigQuery in the US; the first TiB of a month is free."""

_LABEL = re.compile(r"^[a-z][a-z0-9_-]{0,62}$")
_LABEL_VALUE = re.compile(r"^[a-z0-9_-]{0,63}$")


@dataclass(frozen=True)
class BigQueryOptions:
    """How BigQuery is asked, and what a query may cost.

    Parameters
    ----------
    project : str
        Google Cloud project that is billed.
    location : str
        IDC's datasets are in ``US``.
    maximum_bytes_billed : int, bytes
        A query above it is refused, by us after the dry run and by BigQuery.
    credentials_file : str, optional
        Service-account key; default: application default credentials.
    api_endpoint : str, optional
        Of an emulator; without `credentials_file` it is spoken to without credentials.
    price_usd_per_tib : float
    labels : mapping of str to str
        Labels on every job, besides the query's name.
    dataset_project : str
        Project that holds ``idc_v25`` and the like.
    tables : mapping of str to str
        Own physical tables (``project.dataset.table``) by logical name, in place of IDC's.
    timeout_s : float, s
        Longest time for one query, retries included.
    """

    project: str
    location: str = "US"
    maximum_bytes_billed: int = 200 * 1024**3
    credentials_file: str | None = None
    api_endpoint: str | None = None
    price_usd_per_tib: float = USD_PER_TIB
    labels: Mapping[str, str] = field(default_factory=dict)
    dataset_project: str = "bigquery-public-data"
    tables: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 600.0
    name: str = field(default="bigquery", init=False)

    def __post_init__(self) -> None:
        for key, value in self.labels.items():
            if not _LABEL.match(key) or not _LABEL_VALUE.match(value):
                raise UsageError(
                    "settings-invalid",
                    f"BigQuery label {key!r}: {value!r} is not allowed (small letters, digits, - and _).",
                    key="labels",
                )
