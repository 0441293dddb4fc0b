"""Where to look, and with which settings: the options that commands on cohorts share."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Parameter

from flows.console import note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.settings import Settings
    from segtools.select import CohortSpec, Selection


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Where to look, and with which settings."""

    index: tuple[Path, ...] = ()
    """Folder made by `idcseg index`; may be repeated."""
    config: Path | None = None
    """Settings file; see config/default.yaml."""
    set: tuple[str, ...] = ()
    """One setting, as fetch.workers=8; may be repeated."""

    def agreeing(self, *, yes: bool, replace: bool = False) -> Where:
        """With the settings that `--yes` and `--replace` stand for, which travel to shards and schedules."""
        agreed = ("run.confirm_above_bytes=null",) * yes + ("run.replace=true",) * replace
        return dataclasses.replace(self, set=(*self.set, *agreed))

    def settings(self) -> Settings:
        """The settings these options give."""
        from flows.settings import load_settings

        return load_settings(self.config, self.set)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that vanishes with the block."""
    with tempfile.TemporaryDirectory(prefix="idcseg-") as folder:
        yield Path(folder)


def select_cohort(cohort: str, where: Where) -> tuple[CohortSpec, Settings, Selection]:
    """Load a cohort file and ask its tables; what could not be filtered on is told on stderr."""
    from segtools.select import load_spec, select

    settings = where.settings()
    spec = load_spec(cohort)
    selection = select(spec, settings.make_sources(spec, where.index), settings.make_engine())
    for warning in selection.warnings:
        note(f"note: {warning}")
    return spec, settings, selection
