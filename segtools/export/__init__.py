"""Views of a dataset in the layouts that training frameworks and viewers read.

The dataset folder stays the truth; an export is made from it and can be made again. `export` writes
one, `FORMATS` names them.
"""

from __future__ import annotations

from segtools.export.cases import Case, cases
from segtools.export.run import FORMATS, ExportOptions, ExportReport, export

__all__ = ["FORMATS", "Case", "ExportOptions", "ExportReport", "cases", "export"]
