"""Cohorts of DICOM SEG as label maps and one queryable segment catalog.

`segtools.open` loads a dataset; `segtools.decode.read` reads one file; the other stages are
sub-packages of the same name: select, fetch, decode, write, check, report.
"""

from __future__ import annotations

from segtools.dataset.reader import Dataset, open_dataset
from segtools.version import __version__

__all__ = ["Dataset", "__version__", "open"]

open = open_dataset
