"""Where the tables are: own indexes, IDC's series index, the mirror of IDC's `segmentations`."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from segtools.errors import EnvironmentProblem, MissingError, SelectError

if TYPE_CHECKING:
    from segtools.select.cohort_spec import CohortSpec

SEGMENTATIONS_FILE = "segmentations.parquet"
SERIES_FILE = "series_index.parquet"
INSTANCES_FILE = "instances.parquet"


@dataclass(frozen=True)
class Sources:
    """The tables to ask.

    Parameters
    ----------
    indexes : tuple of Path
        Folders made by `idcseg index`. A series that several sources hold is taken from the first,
        own indexes before IDC.
    idc : bool
        Ask IDC's tables too.
    mirror : Path, optional
        Folder of mirrors made by `segtools.select.engines.mirror`; without it IDC's segments are unknown
        to the embedded engine.
    idc_index : Path, optional
        Folder with `idc_index.parquet` and its companions; default: the installed idc-index-data.
    """

    indexes: tuple[Path, ...] = ()
    idc: bool = True
    mirror: Path | None = None
    idc_index: Path | None = field(default=None)

    @classmethod
    def of(
        cls,
        spec: CohortSpec,
        *,
        indexes: tuple[Path, ...] = (),
        mirror: Path | None = None,
        idc_index: Path | None = None,
    ) -> Sources:
        """The sources a cohort names, after those given at run time.

        An index given at run time stands in for each that the cohort names by a relative path: nobody knows
        relative to what.

        Raises
        ------
        EnvironmentProblem
            ``source-missing``: the cohort is not for IDC, and no index is given; or fewer than it names by
            relative paths.
        """
        named = [Path(path) for path in spec.source.index]
        relative = [str(path) for path in named if not path.is_absolute()]
        if len(relative) > len(indexes):
            raise EnvironmentProblem(
                "source-missing",
                f"Cohort {spec.name!r} names an index relative to its original file, {', '.join(relative)};"
                " a dataset's copy of the file cannot tell where that was.",
                hint=f"Add {' '.join(f'--index FOLDER/{path}' for path in relative)}, FOLDER being where"
                " the original file is.",
            )
        paths = (*indexes, *(path for path in named if path.is_absolute()))
        idc = not paths if spec.source.idc is None else spec.source.idc
        if not paths and not idc:
            raise EnvironmentProblem(
                "source-missing",
                f"Cohort {spec.name!r} is not for IDC (source.idc is false), and no index is given.",
                hint="Give one made by `idcseg index`: --index FOLDER.",
            )
        return cls(tuple(dict.fromkeys(paths)), idc, mirror, idc_index)

    def newest_release(self) -> int:
        """The newest IDC release that the series index knows; errors as in `idc_folder`."""
        import pyarrow.parquet as pq

        table = pq.read_table(self.idc_folder() / "version_metadata_index.parquet", columns=["idc_version"])
        return int(max(table["idc_version"].to_pylist()))

    def index_file(self, index: Path, name: str) -> Path:
        """File `name` of an own index.

        Raises
        ------
        MissingError
            ``not-found``: there is no such folder.
        SelectError
            ``table-invalid``: the folder lacks the file.
        """
        if not index.is_dir():
            raise MissingError("not-found", f"There is no index folder {index}.", path=str(index))
        path = index / name
        if not path.is_file():
            raise SelectError("table-invalid", f"The index {index} lacks {name}.", path=str(path))
        return path

    def idc_folder(self) -> Path:
        """Folder of IDC's series index.

        Raises
        ------
        EnvironmentProblem
            ``source-missing``: idc-index-data is not installed.
        """
        if self.idc_index is not None:
            folder = self.idc_index
        else:
            found = importlib.util.find_spec("idc_index_data")
            if found is None or found.origin is None:
                raise EnvironmentProblem(
                    "source-missing",
                    "IDC's series index is not installed.",
                    hint="Install idc-index-data, or give an index of your own.",
                )
            folder = Path(found.origin).parent
        if not (folder / "idc_index.parquet").is_file():
            raise EnvironmentProblem(
                "source-missing", f"{folder} holds no idc_index.parquet.", path=str(folder)
            )
        return folder
