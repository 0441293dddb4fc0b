from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from segtools.phantom.archive import Archived, write_archive

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Archived]]:
    folder = tmp_path_factory.mktemp("archive")
    return folder, write_archive(folder)
