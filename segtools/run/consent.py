"""What a run does only when it was asked to: delete a dataset's volumes, download very much.

Both are refused before anything moves, with the numbers, and with the option that allows them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segtools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from segtools.dataset.reader import Dataset

_EXAMPLES = 3


@dataclass(frozen=True)
class Consent:
    """What the caller agreed to.

    Attributes
    ----------
    replace : bool
        Volumes may be deleted because the cohort is another one.
    confirm_above_bytes : int or None
        A larger download is refused; None never refuses.
    """

    replace: bool = False
    confirm_above_bytes: int | None = None

    def download(self, size_bytes: int, series: int) -> None:
        """Refuse a download that is larger than agreed.

        Raises
        ------
        UsageError
            ``download-not-confirmed``.
        """
        limit = self.confirm_above_bytes
        if limit is not None and size_bytes > limit:
            raise UsageError(
                "download-not-confirmed",
                f"{series:,} series of {_size(size_bytes)} would be downloaded; more than {_size(limit)} "
                "needs your consent (run.confirm_above_bytes).",
                value=size_bytes,
            )

    def deletion(self, dataset: Dataset, cohort_text: str, selected: Collection[str]) -> None:
        """Refuse to delete volumes that a newer release or a smaller archive does not explain.

        Series that leave their source are retired, and that is as it should be. But where the cohort file
        is another one than the dataset's, or where more than half of the dataset would go, somebody may
        have named the wrong folder.

        Parameters
        ----------
        dataset : Dataset
            As committed last.
        cohort_text : str
            The cohort file of this run.
        selected : collection of str
            SeriesInstanceUIDs that the run selected.

        Raises
        ------
        UsageError
            ``deletion-not-confirmed``.
        """
        if self.replace:
            return
        kept = dataset.series(
            "status IN ('ok', 'warned') AND volume_count > 0",
            ["seg_series_uid", "collection_id", "volume_count"],
        ).to_pylist()
        lost = [row for row in kept if row["seg_series_uid"] not in selected]
        is_same = hashlib.sha256(cohort_text.encode()).hexdigest() == dataset.manifest.get("cohort_sha256")
        if not lost or (is_same and 2 * len(lost) <= len(kept)):
            return
        examples = ", ".join(f"{row['collection_id']} {row['seg_series_uid']}" for row in lost[:_EXAMPLES])
        more = ", …" if len(lost) > _EXAMPLES else ""
        why = "" if is_same else ", which was made from another cohort file"
        raise UsageError(
            "deletion-not-confirmed",
            f"{len(lost):,} of {len(kept):,} series of {dataset.name}{why}, are not selected now; their "
            f"{sum(row['volume_count'] for row in lost):,} volumes would be deleted: {examples}{more}.",
            path=dataset.name,
            value=len(lost),
        )


def _size(count: int) -> str:
    return f"{count / 1e12:.1f} TB" if count >= 1e12 else f"{count / 1e9:.1f} GB"
