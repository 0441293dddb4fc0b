"""Where the data files of the project are: queries, settings, cohorts.

A checkout's own `queries/` and `config/` come first, so that editing them has an effect; an
installed wheel carries copies under `segtools/_data`.
"""

from __future__ import annotations

from pathlib import Path

from segtools.errors import MissingError

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """Folder `name` ("queries" or "config") of the project.

    Raises
    ------
    MissingError
        ``not-found``: neither the checkout nor the package has it.
    """
    for candidate in (_PACKAGE.parent / name, _PACKAGE / "_data" / name):
        if (candidate / "README.md").is_file():
            return candidate
    raise MissingError("not-found", f"The project's folder {name!r} is not installed.", name=name)
