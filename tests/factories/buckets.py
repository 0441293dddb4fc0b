"""Fixtures: a bucket that misbehaves on demand, how to reach it, and its series as tables state them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from segtools.objectstore.s5cmd import FetchOptions
from segtools.series import RemoteObject, SelectedSeries
from tests.factories.faulty_s3 import FaultyS3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def s3() -> Iterator[FaultyS3]:
    """A bucket with three series: one of one object, one of two, one large."""
    objects = {
        "bucket/one/a.dcm": b"A" * 5000,
        "bucket/two/b.dcm": b"B" * 700,
        "bucket/two/c.dcm": b"C" * 800,
        "bucket/large/d.dcm": bytes(range(256)) * 12_000,
    }
    with FaultyS3(objects) as server:
        yield server


@pytest.fixture
def options(s3: FaultyS3) -> FetchOptions:
    return FetchOptions(endpoint=s3.url, retries=1, backoff_s=0.01, stall_timeout_s=20)


@pytest.fixture
def select(s3: FaultyS3) -> Callable[..., SelectedSeries]:
    """A series of the bucket as a table states it; with `is_listed`, without its objects."""

    def make(folder: str, *, is_listed: bool = False, **changes: object) -> SelectedSeries:
        keys = sorted(key for key in s3.objects if key.startswith(f"bucket/{folder}/"))
        objects = tuple(
            RemoteObject(f"s3://{key}", len(s3.objects[key]), hashlib.md5(s3.objects[key]).hexdigest())
            for key in keys
        )
        row: dict[str, object] = {
            "collection_id": "phantoms",
            "patient_id": "../../P1",
            "study_uid": "1.2.3",
            "seg_series_uid": f"1.2.3.{folder}",
            "crdc_series_uuid": folder,
            "series_url": f"s3://bucket/{folder}/",
            "size_bytes": sum(len(s3.objects[key]) for key in keys),
            "instance_count": len(keys),
            "objects": () if is_listed else objects,
        }
        return SelectedSeries(**(row | changes))  # type: ignore[arg-type]

    return make
