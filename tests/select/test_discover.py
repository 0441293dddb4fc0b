"""What there is to choose from, and queries of one's own."""

from __future__ import annotations

import pytest

from segtools.errors import QueryError, UsageError
from segtools.select import (
    BigQueryEngine,
    LocalEngine,
    Sources,
    listing,
    query,
)
from segtools.select.discover import LISTED
from segtools.select.filters import filters

OWN = Sources(idc=False)


def test_every_key_of_names_has_a_list(local: LocalEngine, bigquery: BigQueryEngine) -> None:
    """A filter whose values are names is only as good as the list of them."""
    named = {key.replace("_", "-") for key, made in filters("series").items() if made.terms}
    assert named <= set(LISTED)
    for what in LISTED:
        here = listing(what, OWN, local, idc_version=25)
        assert here.num_rows or what in ("cancer-types", "tumor-locations", "species"), what
        assert here.equals(listing(what, Sources(), bigquery)), what


def test_lists_have_counts_the_most_frequent_first(local: LocalEngine) -> None:
    rows = listing("collections", OWN, local, idc_version=25).to_pylist()
    assert rows == [
        {"name": "lidc", "series_count": 2},
        {"name": "nlst", "series_count": 2},
        {"name": "kirc", "series_count": 1},
        {"name": "til", "series_count": 1},
    ]
    assert listing("licenses", OWN, local, "cc by-nc*", 25)["name"].to_pylist() == ["CC BY-NC 3.0"]
    assert listing("algorithms", OWN, local, "rcc", 25)["algorithm_name"].to_pylist() == ["RCC-AI"]
    assert listing("collections", OWN, local, "nlts", 25)["name"].to_pylist() == ["nlst"]


def test_an_unknown_list_has_near_matches(local: LocalEngine) -> None:
    with pytest.raises(UsageError, match="Did you mean licenses") as caught:
        listing("licences", OWN, local)
    assert caught.value.attrs["near"] == ["licenses"]


def test_columns_are_those_that_a_query_reads(local: LocalEngine) -> None:
    rows = listing("columns", OWN, local).to_pylist()
    for table in ("series_index", "segment_meanings", "images"):
        names = [row["column"] for row in rows if row["table"] == table]
        assert query(f"SELECT {', '.join(names)} FROM {table}", OWN, local, 25).column_names == names


def test_query_on_both_engines(local: LocalEngine, bigquery: BigQueryEngine) -> None:
    sql = "SELECT Modality, COUNT(*) AS n FROM series_index GROUP BY Modality ORDER BY n DESC"
    expected = [{"Modality": "SEG", "n": 7}, {"Modality": "CT", "n": 1}, {"Modality": "MR", "n": 1}]
    for sources, engine in ((OWN, local), (Sources(), bigquery)):
        rows = query(sql, sources, engine, 25).to_pylist()
        assert sorted(map(str, rows)) == sorted(map(str, expected))


@pytest.mark.parametrize(
    "sql",
    ["DROP TABLE series_index", "SELECT 1; SELECT 2", "SELECT * FROM nowhere", "SELECT foo FROM series_index",
     "SELECT * FROM read_csv('/etc/passwd')", "SELECT @x"],
)  # fmt: skip
def test_what_is_no_query(sql: str, local: LocalEngine) -> None:
    with pytest.raises(QueryError) as caught:
        query(sql, OWN, local, 25)
    assert caught.value.code == "query-invalid"
