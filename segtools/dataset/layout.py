"""Where everything of a dataset lies: the only module that joins its paths.

::

    <dataset>/  dataset.json · cohort.yaml · README.md · CITATIONS.bib · LICENSES.tsv
      tables/columns.tsv · tables/<table>/<hash of its bytes>.parquet    the pages of the last commit
      tables/.replaced/<table>/<hash>.parquet     pages of earlier commits, for handles that still read them
      tables/.staging/<part>.<table>.parquet      parts that wait for the commit
      tables/.staging/pages/<table>/<hash>.parquet   merged pages that wait for it
      volumes/<collection>/<PatientID>/<SeriesInstanceUID>/<SOPInstanceUID>_rev-<revision>_dseg.nii.gz|json|tsv
      report/report.html · runs/<UTC>.json · runs/replaced/<UTC>.json · .lock

No name is ever given to other content: a page is named by its bytes, a volume by its instance and by the
version and settings it was made from. So a commit adds names, replaces ``dataset.json``, and what only
earlier commits name goes later (`segtools.dataset.replaced`).

Names from tables and headers are strangers' words, so each becomes one harmless path component:
`component` keeps what is harmless as it is and is injective for the rest (a hash of the original is
appended), so neither the order of the series nor what else is in the dataset changes a path.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath
from typing import Literal

from segtools.dataset.pages import STAGED_PAGES
from segtools.files import TEMPORARY_PREFIX, component
from segtools.schema import DATASET_TABLES

_HARMLESS = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")

_VOLUME_DEPTH = 4
"""``volumes/<collection>/<PatientID>/<SeriesInstanceUID>``"""
_VOLUME_FILE = re.compile(r"_(dseg|mask|probseg|image)\.(nii\.gz|json|tsv)\Z")

DocumentName = Literal["cohort.yaml", "README.md", "CITATIONS.bib", "LICENSES.tsv"]
VolumeKind = Literal["dseg", "mask", "probseg"]


def revision(crdc_series_uuid: str, settings_hash: str) -> str:
    """16 hex digits that tell apart what one series gave in different versions or under other settings."""
    return hashlib.sha256(f"{crdc_series_uuid}\0{settings_hash}".encode()).hexdigest()[:16]


def sidecar_name(sop_instance_uid: str, kind: str, extension: str, *, revision: str | None = None) -> str:
    """File name of the sidecar (``json`` or ``tsv``) of an instance's ``dseg`` or ``probseg`` volumes."""
    return "_".join([*_stem(sop_instance_uid, revision), f"{kind}.{extension}"])


def volume_name(
    sop_instance_uid: str,
    kind: VolumeKind,
    *,
    layer: int | None = None,
    label: int | None = None,
    revision: str | None = None,
) -> str:
    """File name of a volume, after BIDS derivatives.

    Parameters
    ----------
    sop_instance_uid : str
    kind : {"dseg", "mask", "probseg"}
    layer : int, optional
        Of a ``dseg`` with several layers; then no plain ``_dseg`` file exists.
    label : int, optional
        SegmentNumber of a ``mask`` or ``probseg``.
    revision : str, optional
        See `revision`; files outside a dataset have none.

    Examples
    --------
    >>> volume_name("1.2.3", "probseg", label=3)
    '1.2.3_label-03_probseg.nii.gz'
    """
    entities = _stem(sop_instance_uid, revision)
    if layer is not None:
        entities.append(f"desc-layer{layer}")
    if label is not None:
        entities.append(f"label-{label:02d}")
    return "_".join([*entities, f"{kind}.nii.gz"])


def image_name(series_uid: str, extension: str, *, revision: str) -> str:
    """File name of an image series' NIfTI or sidecar: ``<SeriesInstanceUID>_rev-<revision>_image.nii.gz``."""
    return "_".join([*_stem(series_uid, revision), f"image.{extension}"])


def is_volume_file(relative: str) -> bool:
    """Whether a relative path is one that a run may have written below volumes/, or begun to write."""
    *folders, name = relative.split("/")
    return len(folders) == _VOLUME_DEPTH and bool(
        _VOLUME_FILE.search(name) or name.startswith(TEMPORARY_PREFIX)
    )


def _stem(sop_instance_uid: str, revision: str | None) -> list[str]:
    """The UID itself, so that no two instances of a series share a name."""
    return [component(sop_instance_uid), *([f"rev-{revision}"] if revision else ())]


class Layout:
    """Paths of the dataset in `root`. Relative ones are POSIX strings, as the tables hold them."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    @property
    def manifest(self) -> Path:
        """The commit point."""
        return self.root / "dataset.json"

    @property
    def lock(self) -> Path:
        """Names the run that holds the dataset."""
        return self.root / ".lock"

    @property
    def staging(self) -> Path:
        """Parts that wait for the commit."""
        return self.root / "tables" / ".staging"

    @property
    def spill(self) -> Path:
        """Where the merge's sort goes when it outgrows its memory."""
        return self.staging / "spill"

    @property
    def replaced(self) -> Path:
        """Folder of the manifests that later commits replaced, by when they did."""
        return self.root / "runs" / "replaced"

    @property
    def merged_pages(self) -> Path:
        """Folder of the pages that wait for the commit."""
        return self.root / STAGED_PAGES

    @property
    def ledger(self) -> Path:
        """Folder of the runs' ledger of outcomes."""
        return self.root / "runs" / "ledger"

    @property
    def shards(self) -> Path:
        """Folder of the running shards' plans."""
        return self.root / "runs" / "shards"

    def shard(self, name: str, table: str) -> Path:
        """One table of a shard's plan."""
        return self.shards / f"{component(name)}.{table}.parquet"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.root / "report" / "report.html"

    @property
    def volumes(self) -> Path:
        """The folder of all volumes."""
        return self.root / "volumes"

    def document(self, name: DocumentName) -> Path:
        """A document at the top of the dataset."""
        return self.root / name

    def table(self, name: str) -> Path:
        """The folder of a committed table's pages."""
        return self.root / "tables" / name

    @property
    def columns(self) -> Path:
        """The data dictionary."""
        return self.root / "tables" / "columns.tsv"

    @property
    def plan(self) -> Path:
        """What the run under way is going to do."""
        return self.root / "runs" / "plan.json"

    def run(self, stamp: str) -> Path:
        """The record of one run."""
        return self.root / "runs" / f"{component(stamp)}.json"

    def part(self, part_id: str, table: str) -> Path:
        """A staged part of one table; harmless ids, and those that `parts` gives, stay as they are."""
        name = part_id if _HARMLESS.fullmatch(part_id) else component(part_id)
        return self.staging / f"{name}.{table}.parquet"

    def parts(self) -> list[str]:
        """Ids of the complete parts: those of which every table is there (the series one is written last)."""
        names = {path.name for path in self.staging.glob("[!.]*.parquet")}
        suffix = ".series.parquet"
        ids = sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix))
        return [one for one in ids if all(f"{one}.{table.name}.parquet" in names for table in DATASET_TABLES)]

    def series_folder(self, collection_id: str, patient_id: str, seg_series_uid: str) -> str:
        """Folder of a series' volumes, relative."""
        parts = (collection_id, patient_id, seg_series_uid)
        return str(PurePosixPath("volumes", *map(component, parts)))

    def within(self, folder: str, name: str) -> str:
        """File `name` in the relative `folder`, relative."""
        return str(PurePosixPath(folder, name))

    def absolute(self, relative: str) -> Path:
        """The path of a relative one."""
        return self.root / relative

    def relative(self, path: Path) -> str:
        """`path` below the dataset, relative."""
        return path.relative_to(self.root).as_posix()


class FlatLayout(Layout):
    """One folder without levels: what `idcseg decode` writes of single files.

    Parameters
    ----------
    root : Path or str
    part : int, optional
        From 1, of a file that is read in parts: each has a folder ``part-<n>`` of its own.
    """

    def __init__(self, root: Path | str, part: int | None = None) -> None:
        super().__init__(root)
        self._part = part

    def series_folder(self, collection_id: str, patient_id: str, seg_series_uid: str) -> str:
        """The root itself, or the folder of the part."""
        return "" if self._part is None else f"part-{self._part}"
