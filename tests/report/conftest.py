import pytest

from tests.report.rows import write_dataset


@pytest.fixture
def dataset(tmp_path):
    """Makes the dataset `liver-ct` of the given rows."""

    def make(**rows):
        return write_dataset(tmp_path / "liver-ct", **rows)

    return make
