"""Cohorts of DICOM SEG as label maps and one queryable segment catalog.

`segtools.open` loads a dataset; `segtools.decode.read` reads one file; the other stages are
sub-packages of the same name: select, fetch, decode, write, check, report, export, encode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segtools.version import __version__

if TYPE_CHECKING:
    from segtools.dataset.reader import Dataset
    from segtools.dataset.reader import open_dataset as open

__all__ = ["Dataset", "__version__", "open"]


def __getattr__(name: str) -> Any:
    """Import the load API on first use: whoever decodes a file does without."""
    if name not in ("Dataset", "open"):  # a sub-package, or nothing
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from segtools.dataset import reader

    return reader.open_dataset if name == "open" else reader.Dataset
