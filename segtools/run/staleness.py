"""Whether there is anything to run for: what a scheduled run asks before it starts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from segtools.errors import DatasetError

if TYPE_CHECKING:
    from segtools.dataset.home import View
    from segtools.run.cohort import CohortRun


class RunReason(Enum):
    """Why a cohort should run now."""

    NO_DATASET = "no-dataset"
    COHORT_CHANGED = "cohort-changed"
    INTERRUPTED = "interrupted"
    SETTINGS_CHANGED = "settings-changed"
    NEW_RELEASE = "new-release"
    INDEX_CHANGED = "index-changed"


@dataclass(frozen=True, slots=True)
class Staleness:
    """The first reason that holds; for a release, the dataset's and the one that is out."""

    reason: RunReason
    committed_release: int | None = None
    release: int | None = None


def staleness(run: CohortRun) -> Staleness | None:
    """Why the cohort should run now; None if its dataset is up to date.

    The cheap questions come first; series are selected only from own indexes, which name no release.

    Parameters
    ----------
    run : CohortRun
        Need not be entered: nothing is written, no lock is taken.

    Raises
    ------
    DatasetError
        ``dataset-invalid``, ``dataset-incompatible``.
    SelectError, EnvironmentProblem
        The tables cannot be asked; see `segtools.select.select`.
    """
    with run.peek() as view:
        return _staleness(run, view)


def _staleness(run: CohortRun, view: View) -> Staleness | None:
    manifest = view.manifest()
    if manifest is None:
        return Staleness(RunReason.NO_DATASET)
    try:
        committed, cohort_sha256 = manifest["idc_version"], manifest["cohort_sha256"]
    except KeyError as error:
        raise DatasetError(
            "dataset-invalid", f"dataset.json of {view.name} lacks {error}.", path=view.name
        ) from error
    if hashlib.sha256(run.cohort_text.encode()).hexdigest() != cohort_sha256:
        return Staleness(RunReason.COHORT_CHANGED)
    if view.parts():
        return Staleness(RunReason.INTERRUPTED)
    known = view.known()
    if any(item.settings_hash != run.job.settings_hash for item in known.values()):
        return Staleness(RunReason.SETTINGS_CHANGED)
    if (release := _newer(run, committed)) is not None:
        return Staleness(RunReason.NEW_RELEASE, committed, release)
    if run.config.sources.indexes:
        series = run.select().series.select(["seg_series_uid", "crdc_series_uuid"]).to_pylist()
        now = {row["seg_series_uid"]: row["crdc_series_uuid"] for row in series}
        if now != {uid: item.crdc_series_uuid for uid, item in known.items()}:
            return Staleness(RunReason.INDEX_CHANGED)
    return None


def _newer(run: CohortRun, committed: int | None) -> int | None:
    """The release the cohort asks for, where the dataset is not on it; `latest` never goes back."""
    sources, wanted = run.config.sources, run.spec.idc_version
    if not sources.idc:
        return None
    with run.config.engine.open(sources, wanted) as session:
        release = session.facts.idc_version
    if release is None or release == committed:
        return None
    return release if committed is None or release > committed or isinstance(wanted, int) else None
