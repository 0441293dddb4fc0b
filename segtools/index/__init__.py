"""An index of any archive of DICOM SEG, in the schema of IDC's own tables.

`build_index` reads headers only and writes `segmentations.parquet`, `series_index.parquet` and
`instances.parquet`: the same queries then run on it as on IDC.
"""

from segtools.index.build import IndexReport, Skipped, build_index
from segtools.index.folder_archive import ArchiveObject

__all__ = ["ArchiveObject", "IndexReport", "Skipped", "build_index"]
