from __future__ import annotations

import pytest

from segtools.dataset import transaction
from segtools.dataset.layout import Layout


@pytest.fixture
def layout(tmp_path):
    """An empty dataset folder, ready to write to."""
    layout = Layout(tmp_path / "abdomen")
    transaction.prepare(layout)
    return layout
