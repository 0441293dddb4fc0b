"""From names and settings to a run: what the flow and the command line share."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.console import note, progress
from flows.settings import load_settings
from segtools.bounded_json import load_json
from segtools.dataset.layout import Layout
from segtools.decode.geometry.source_images import SourceImages
from segtools.objectstore.urls import is_bucket_url
from segtools.run.cohort import CohortRun, RunConfig
from segtools.select.cohort_file import cohort_file, load_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.settings import Settings
    from segtools.report.summary import Summary
    from segtools.select import CohortSpec


def open_run(
    cohort: str,
    dataset: str,
    config: Path | None = None,
    overrides: Sequence[str] = (),
    indexes: Sequence[Path] = (),
    retry: Sequence[str] = (),
) -> CohortRun:
    """A run that is ready to be entered.

    Raises
    ------
    SpecError, MissingError
        The cohort file or a setting.
    """
    settings = load_settings(config, overrides)
    spec = load_spec(cohort)
    path = cohort_file(cohort)
    text = path.read_text(encoding="utf-8-sig")
    layout = Layout(path.parent)
    if path.name == layout.document("cohort.yaml").name and layout.manifest.is_file():
        # A dataset's own copy: its name is not the file's.
        spec = spec.model_copy(update={"name": load_json(layout.manifest.read_bytes())["name"]})
    return CohortRun(spec, text, settings.make_home(dataset), make_config(settings, spec, indexes), retry)


def run_stages(run: CohortRun) -> Summary:
    """All stages in order, without a server."""
    with run:
        selection = run.select()
        pending = run.plan()
        note(f"{len(selection.series):,} series selected, {len(pending):,} to do")
        with progress("series", len(pending)) as advance:
            run.process(pending, lambda outcome: advance(1, outcome.bytes_in))
        run.merge()
        run.check()
        summary = run.report()
        run.commit()
        return summary


def portable_parameters(
    cohort: str,
    dataset: str,
    config: Path | str | None = None,
    overrides: Sequence[str] = (),
    indexes: Sequence[Path | str] = (),
) -> dict[str, Any]:
    """Parameters of the flows with absolute paths: their runs may start in another folder.

    The name of a cohort that comes with the package stays a name.
    """
    return {
        "cohort": str(Path(cohort).resolve()) if Path(cohort).is_file() else cohort,
        "dataset": dataset if is_bucket_url(dataset) else str(Path(dataset).resolve()),
        "config": str(Path(config).resolve()) if config else None,
        "overrides": list(overrides),
        "index": [str(Path(path).resolve()) for path in indexes],
    }


def make_config(settings: Settings, spec: CohortSpec, indexes: Sequence[Path] = ()) -> RunConfig:
    """The stages' options from the settings."""
    images = [folder.expanduser() for folder in settings.sources.images]
    return RunConfig(
        sources=settings.make_sources(spec, indexes),
        engine=settings.make_engine(),
        pipeline=settings.make_pipeline(),
        fetch=settings.fetch,
        decode=settings.decode,
        executor=settings.make_executor(),
        consent=settings.make_consent(),
        compression_level=settings.write.compression_level,
        batch_bytes=settings.run.batch_bytes,
        batch_series=settings.run.batch_series,
        grace=timedelta(hours=settings.write.keep_replaced_hours),
        source_images=SourceImages.below(images) if spec.output.grid == "source" else None,
    )
