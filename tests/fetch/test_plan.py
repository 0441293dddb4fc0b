"""URLs from strangers, bucket names of two clouds, local names."""

from __future__ import annotations

from segtools.fetch.plan import plan_series
from segtools.series import RemoteObject


def test_a_prefix_with_wildcards_is_not_listed(select, tmp_path):
    plan = plan_series(select("one", is_listed=True, series_url="s3://bucket/o*e/"), tmp_path, None)
    assert plan.error.code == "unsafe-url"
    assert plan.to_list == []


def test_only_objects_without_a_size_are_listed(select, tmp_path):
    known, unknown = RemoteObject("s3://bucket/one/a.dcm", 5), RemoteObject("s3://bucket/one/b.dcm")
    plan = plan_series(select("one", objects=(known, unknown)), tmp_path, None)
    assert plan.to_list == [unknown.url]
    assert plan.size_bytes == 5


def test_an_object_is_no_folder(select, tmp_path):
    plan = plan_series(select("one", objects=(RemoteObject("s3://bucket/one/", 5),)), tmp_path, None)
    assert plan.error.code == "unsafe-url"


def test_a_local_series_of_one_file_and_of_none(select, tmp_path):
    file = tmp_path / "a.dcm"
    file.write_bytes(b"12345")
    row = {"is_listed": True, "size_bytes": 5, "instance_count": 1}
    assert plan_series(select("one", series_url=file.as_uri(), **row), tmp_path, None).items[0].path == file
    gone = plan_series(select("one", series_url=(tmp_path / "b").as_uri(), **row), tmp_path, None)
    assert gone.error.code == "object-missing"
