"""Cutting a selection into batches."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segtools.run.batches import Batch, cut


@given(
    sizes=st.lists(st.integers(0, 50), max_size=60),
    limit=st.integers(1, 100),
    count=st.integers(1, 8),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_series_once_in_order_within_the_limits(series, sizes, limit, count):
    table = [series(n, size) for n, size in enumerate(sizes)]
    batches = list(cut(table, limit, count))
    assert [one for batch in batches for one in batch.series] == table
    for batch in batches:
        assert 1 <= len(batch) <= count
        assert batch.size_bytes <= limit or len(batch) == 1


def test_batches_are_filled(series):
    assert [len(batch) for batch in cut(map(series, range(10)), 400, 64)] == [4, 4, 2]
    assert [len(batch) for batch in cut(map(series, range(10)), 10_000, 3)] == [3, 3, 3, 1]


def test_it_is_lazy(series):
    endless = iter(lambda: series(1), None)
    assert len(next(cut(endless, 10_000, 5))) == 5


def test_the_id_follows_the_versions_of_the_series(series):
    batch = Batch((series(1), series(2)))
    assert batch.id == Batch((series(1), replace(series(2), size_bytes=9))).id
    assert batch.id != Batch((series(2), series(1))).id
    assert batch.id != Batch((series(1), replace(series(2), crdc_series_uuid="new"))).id
    assert batch.id != Batch((series(1),)).id


def test_halves(series):
    left, right = Batch(tuple(map(series, range(5)))).halves()
    assert (len(left), len(right)) == (2, 3)
    assert left.series + right.series == tuple(map(series, range(5)))
