"""What the documentation shows does what it says."""

from __future__ import annotations

import doctest
import re

import duckdb
import pytest

from segtools.dataset import layout as layout_module
from segtools.terminology import licenses, names, snomed
from tests.factories.dataset import commit, make_series, write_part


@pytest.mark.parametrize("module", [layout_module, licenses, names, snomed])
def test_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_readme_of_a_dataset_runs(layout, monkeypatch):
    series = [make_series(1)]
    write_part(layout, series)
    commit(layout, series)
    monkeypatch.chdir(layout.root)
    blocks = re.findall(r"```(\w+)\n(.*?)```", layout.document("README.md").read_text(), re.S)
    names = {}
    exec(next(code for kind, code in blocks if kind == "python").replace("> 1000", "> 10"), names)
    assert names["mask"].sum() == names["row"]["voxel_count"]
    assert names["volume"].array.shape == names["mask"].shape
    names["dataset"].close()
    query = next(code for kind, code in blocks if kind == "sql")
    with duckdb.connect() as connection:
        assert len(connection.execute(query).fetchall()) == 3
    by_nibabel = [code for kind, code in blocks if kind == "python"][1]
    without_pandas = re.sub(r"import nibabel, pandas\n|segments = .*\n|row = .*\n", "", by_nibabel)
    row = type("Row", (), names["row"])
    shown = {"nibabel": __import__("nibabel"), "row": row}
    exec(without_pandas, shown)
    assert shown["mask"].T.sum() == names["row"]["voxel_count"]
