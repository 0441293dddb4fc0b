"""Whether there is anything to run for: what a scheduled run asks before it starts."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from segtools.bounded_json import load_json
from segtools.dataset import transaction
from segtools.errors import DatasetError
from segtools.schema import SERIES

if TYPE_CHECKING:
    from segtools.dataset.layout import Layout
    from segtools.run.cohort import CohortRun


def news(run: CohortRun) -> str | None:
    """Why the cohort should run now; None if its dataset is up to date.

    The cheap questions come first; series are selected only from own indexes, which name no release.

    Parameters
    ----------
    run : CohortRun
        Need not be entered: nothing is written, no lock is taken.

    Returns
    -------
    str or None
        The first reason that holds: there is no dataset, the cohort file or a setting that outputs
        depend on changed, a run was interrupted, a newer IDC release is out, an own index changed.

    Raises
    ------
    DatasetError
        ``dataset-invalid``.
    SelectError, EnvironmentProblem
        The tables cannot be asked; see `segtools.select.select`.
    """
    with run.peek() as layout:
        run.home.bring(layout, layout.manifest, layout.table(SERIES.name), layout.staging)
        return _news(run, layout)


def _news(run: CohortRun, layout: Layout) -> str | None:
    if not layout.manifest.is_file():
        return "there is no dataset yet"
    try:
        manifest = load_json(layout.manifest.read_bytes())
        committed, cohort_sha256 = manifest["idc_version"], manifest["cohort_sha256"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(
            "dataset-invalid", f"{layout.manifest} cannot be read: {error}.", path=str(layout.manifest)
        ) from error
    if hashlib.sha256(run.cohort_text.encode()).hexdigest() != cohort_sha256:
        return "the cohort file changed"
    if layout.parts():
        return "a run was interrupted"
    done = transaction.done(layout)
    if any(item.settings_hash != run.job.settings_hash for item in done.values()):
        return "a setting that outputs depend on changed"
    if (release := _newer(run, committed)) is not None:
        return f"IDC v{release} is out, the dataset has {f'v{committed}' if committed else 'none'}"
    if run.config.sources.indexes:
        series = run.select().series.select(["seg_series_uid", "crdc_series_uuid"]).to_pylist()
        now = {row["seg_series_uid"]: row["crdc_series_uuid"] for row in series}
        if now != {uid: item.crdc_series_uuid for uid, item in done.items()}:
            return "an index changed"
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
