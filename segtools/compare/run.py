"""All pairs of a dataset, in batches on an executor, as one table."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from segtools.compare.lattice import Cropped, common
from segtools.compare.measures import agreement
from segtools.compare.pairs import pairs
from segtools.dataset.reader import Dataset
from segtools.errors import CompareError, MissingError, SegtoolsError
from segtools.run.executors.base import ExecutorOptions
from segtools.run.executors.scheduler import run_batches
from segtools.schema import AGREEMENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from segtools.compare.pairs import Row
    from segtools.run.batches import Batch

BATCH_PAIRS = 64
_PAIR_BYTES = 1_000_000


@dataclass(frozen=True)
class PairBatch:
    """Some pairs that one worker compares; to executors what `segtools.run.batches.Batch` is."""

    pairs: tuple[tuple[Row, Row], ...]

    @property
    def id(self) -> str:
        """16 hex digits: hash of the pairs' segments."""
        names = "\n".join(f"{a['segment_id']} {b['segment_id']}" for a, b in self.pairs)
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    @property
    def size_bytes(self) -> int:
        """A guess, equal for all pairs."""
        return _PAIR_BYTES * len(self.pairs)

    @property
    def cost_bytes(self) -> int:
        """The same guess."""
        return self.size_bytes

    def __len__(self) -> int:
        return len(self.pairs)

    def halves(self) -> tuple[PairBatch, PairBatch]:
        """Two batches with half of the pairs each, in order."""
        middle = len(self.pairs) // 2
        return PairBatch(self.pairs[:middle]), PairBatch(self.pairs[middle:])


@dataclass
class Comparer:
    """What a worker does with a batch. Volumes are read once per run of pairs that share them.

    Attributes
    ----------
    root : Path
        Folder of the dataset.
    """

    root: Path
    kept: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict, repr=False)

    def __call__(self, batch: PairBatch) -> list[dict[str, Any]]:
        """Rows of the table, one per pair; a pair that cannot be compared has a code instead of numbers."""
        return [self._row(first, second) for first, second in batch.pairs]

    def _row(self, first: Row, second: Row) -> dict[str, Any]:
        row = _keys(first, second)
        try:
            _check_frames(first, second)
            masks = common(self._cropped(first), self._cropped(second))
            found = agreement(*masks)
        except SegtoolsError as error:
            return row | {"status": "failed", "error_code": error.code, "error_message": error.message}
        return row | {"status": "ok"} | asdict(found)

    def _cropped(self, row: Row) -> Cropped:
        low, high = ([row[f"bbox_{end}_{axis}"] for axis in "ijk"] for end in ("min", "max"))
        if None in (*low, *high) or row["affine_ras_mm"] is None:
            raise CompareError(
                "no-measures", f"Segment {row['segment_id']} has no bounding box in the catalog."
            )
        box = tuple(slice(a, b + 1) for a, b in zip(reversed(low), reversed(high), strict=True))
        alone = row["fraction_path"] or row["mask_path"]
        array = self._array(alone or row["volume_path"])[box]
        mask = array != 0 if alone else array == row["segment_number"]
        if not mask.any():
            raise CompareError(
                "no-measures", f"Segment {row['segment_id']} has no voxel in its bounding box."
            )
        affine = np.array(row["affine_ras_mm"], float).reshape(4, 4)
        return Cropped(mask, (low[0], low[1], low[2]), affine)

    def _array(self, relative: str) -> np.ndarray[Any, Any]:
        from segtools.nifti.reader import read

        if relative not in self.kept:
            if len(self.kept) >= 2:  # the pair at hand; pairs come in the order of their instances
                del self.kept[next(iter(self.kept))]
            try:
                self.kept[relative] = read(self.root / relative).array
            except FileNotFoundError as error:
                raise CompareError("volume-missing", f"{relative} is missing.") from error
        return self.kept[relative]

    def __reduce__(self) -> tuple[Any, ...]:
        return Comparer, (self.root,)


def compare(dataset: Dataset, where: str | None = None, options: ExecutorOptions | None = None) -> pa.Table:
    """Compare every pair of segments of one structure on one image series.

    Parameters
    ----------
    dataset : Dataset
    where : str, optional
        SQL condition on the segments table.
    options : ExecutorOptions, optional
        Default: one pair after the other, here.

    Returns
    -------
    pyarrow.Table
        `segtools.schema.AGREEMENT`, in its order.

    Raises
    ------
    MissingError
        ``not-found``: scipy is not installed.
    UsageError
        ``filter-invalid``.
    """
    try:
        import scipy.spatial  # noqa: F401 - before any worker starts
    except ImportError as error:
        raise MissingError(
            "not-found", "Comparing needs SciPy.", hint="Run `pip install 'idc-cohort-pipeline[compare]'`."
        ) from error
    dataset.download()
    rows: list[dict[str, Any]] = []
    batches = cast("Iterable[Batch]", _batches(pairs(dataset, where)))
    comparer = Comparer(dataset.root)
    for done in run_batches(cast("Any", comparer), batches, options or ExecutorOptions("serial")):
        if done.error is not None:
            raise done.error
        rows += cast("list[dict[str, Any]]", done.result)
    rows.sort(key=lambda row: tuple(str(row[name]) for name in AGREEMENT.order))
    return AGREEMENT.from_rows(rows)


def _batches(all_pairs: Iterator[tuple[Row, Row]]) -> Iterator[PairBatch]:
    """Pairs of the same two instances together, so that each volume is read once."""
    ordered = sorted(all_pairs, key=lambda pair: (pair[0]["seg_sop_uid"], pair[1]["seg_sop_uid"]))
    for start in range(0, len(ordered), BATCH_PAIRS):
        yield PairBatch(tuple(ordered[start : start + BATCH_PAIRS]))


def _check_frames(first: Row, second: Row) -> None:
    frames = [row["frame_of_reference_uid"] for row in (first, second)]
    if None not in frames and frames[0] != frames[1]:
        raise CompareError(
            "lattice-differs",
            f"The segments have different frames of reference: {frames[0][:64]} and {frames[1][:64]}.",
        )


def _keys(first: Row, second: Row) -> dict[str, Any]:
    row: dict[str, Any] = {
        name: first[name]
        for name in ("collection_id", "patient_id", "source_series_uid", "structure", "laterality")
    }
    for suffix, of in (("first", first), ("second", second)):
        for name in (
            "segment_id",
            "seg_series_uid",
            "analysis_result_id",
            "algorithm_type",
            "algorithm_name",
        ):
            row[f"{name}_{suffix}"] = of[name]
        row[f"volume_{suffix}_ml"] = of["volume_ml"]
    return row
