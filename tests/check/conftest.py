from __future__ import annotations

import pytest

from segtools.write import catalog
from segtools.write.layout import Layout


@pytest.fixture
def layout(tmp_path):
    """An empty dataset folder, ready to write to."""
    layout = Layout(tmp_path / "abdomen")
    catalog.prepare(layout)
    return layout
