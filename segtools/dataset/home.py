"""A dataset as a run sees it, in a folder or in a bucket: claim, stage, look.

::

    with home.claim(scratch) as claim:              # one writer; the last commit is verified
        known = claim.known()                       # what need not be done again
        ...                                         # workers, anywhere:
            with home.stage(scratch) as stage:      #   a batch's files and rows
                with stage.stage(relative) as path: #   one file
                    ...
                stage.rows(part, rows)
        candidate = claim.merge(cohort)             # the next state, not public yet
        claim.record_checks(candidate, findings)
        claim.commit(candidate)                     # all of it, at once

Nobody copies anything to or from a bucket by hand: each of these does what it needs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtools.bounded_json import load_json
from segtools.dataset import transaction
from segtools.dataset.layout import Layout
from segtools.dataset.lock import holder, locked
from segtools.dataset.pages import MANIFEST
from segtools.dataset.place import FolderPlace
from segtools.dataset.replaced import GRACE, arrange
from segtools.dataset.stage import Stage, known_series, next_run, staged
from segtools.dataset.verify import Base, read_manifest, verify
from segtools.errors import DatasetError
from segtools.schema import SERIES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    import pyarrow as pa

    from segtools.dataset.place import Place
    from segtools.dataset.reader import Dataset
    from segtools.dataset.stage import Known

Scratch = Callable[[], AbstractContextManager[Path]]
"""Makes an empty folder that vanishes with its block."""


class View:
    """A dataset looked at without holding it: what it is right now, step by step.

    Parameters
    ----------
    name : str
        The folder's path, or the bucket's URL.
    place : Place
    """

    def __init__(self, name: str, place: Place) -> None:
        self.name = name
        self._place = place
        self.layout = place.layout

    def manifest(self) -> dict[str, Any] | None:
        """The last commit's ``dataset.json``; None if there is none.

        Raises
        ------
        DatasetError
            ``dataset-invalid``, ``dataset-incompatible``.
        """
        return read_manifest(self._place.get(MANIFEST), self.name)

    def parts(self) -> list[str]:
        """Ids of the parts that wait for the commit, the oldest first."""
        self._place.refresh(self.layout.staging)
        return staged(self.layout)

    def known(self) -> dict[str, Known]:
        """Series that were worked on, committed or staged, by SeriesInstanceUID.

        Raises
        ------
        DatasetError
            ``dataset-invalid``: a table cannot be read.
        """
        for is_last in (False, True):
            manifest = self.manifest()
            self._place.refresh(self.layout.table(SERIES.name), self.layout.staging)
            with contextlib.nullcontext() if is_last else contextlib.suppress(DatasetError):
                return known_series(self.layout, manifest)  # a commit may come between the two
        raise AssertionError

    def document(self, path: Path) -> bytes | None:
        """A small file of the dataset; None if there is none."""
        return self._place.get(self.layout.relative(path))

    def ledger(self) -> Path:
        """Folder of the ledger, with all that anybody has recorded by now."""
        self._place.refresh(self.layout.ledger)
        return self.layout.ledger

    def shards(self) -> Path:
        """Folder of the plans of the running shards."""
        self._place.refresh(self.layout.shards)
        return self.layout.shards

    def record(self, name: str, lines: bytes) -> None:
        """Publish lines that were appended to the ledger, under a name that nobody else takes."""
        self._place.append(self.layout.relative(self.layout.ledger / f"{name}.jsonl"), lines)

    def write(self, path: Path, content: bytes | None = None) -> None:
        """Make a file part of the dataset: `content`, or what was written to its path.

        Raises
        ------
        EnvironmentProblem, WriteError
            It cannot be written.
        """
        self._place.put(self.layout.relative(path), path if content is None else content)

    def open(self) -> Dataset:
        """The committed dataset, for reading; errors as in `open_dataset`."""
        return self._place.dataset()


class Claim(View):
    """A dataset that is held: nobody else writes to it.

    Attributes
    ----------
    base : Base
        What the next commit builds on.
    run : int
        Number of this run among those whose parts wait.
    """

    def __init__(self, name: str, place: Place, base: Base, grace: timedelta) -> None:
        super().__init__(name, place)
        self.base = base
        self.run = next_run(self.layout)
        self._grace = grace

    def known(self) -> dict[str, Known]:
        """As `View.known`, without the series whose files were found damaged."""
        known = known_series(self.layout, self.base.manifest)
        waiting = known_series(self.layout, None)
        return {uid: item for uid, item in known.items() if uid in waiting or uid not in self.base.redo}

    def open(self) -> Dataset:
        """The committed dataset without its damaged pages, for reading; only where there is one."""
        return self._place.dataset(self.base.manifest)

    def merge(self, cohort: transaction.Cohort) -> transaction.Candidate:
        """The next state, from what is committed and what anybody has staged; not public yet.

        Errors as in `segtools.dataset.transaction.merge`.
        """
        self._place.refresh(self.layout.staging)
        return transaction.merge(self.layout, self.base, cohort)

    def open_candidate(self, candidate: transaction.Candidate) -> Dataset:
        """A state that is not public yet, for reading."""
        return self._place.dataset(candidate.manifest)

    def record_checks(self, candidate: transaction.Candidate, findings: pa.Table) -> None:
        """Put the findings of the stage `check` into a state that is not public yet."""
        transaction.record_checks(self.layout, candidate, findings)

    def commit(self, candidate: transaction.Candidate) -> dict[str, Any]:
        """Make a state the committed one; its ``dataset.json``. Errors as in `transaction.publish`."""
        transaction.publish(self._place, candidate, self._grace)
        self.base = Base(candidate.manifest)
        return candidate.manifest

    def finish(self) -> None:
        """Publish the records of this run and the report; what waits for nobody is removed."""
        self._place.delete([self.layout.relative(self.layout.plan)])
        self._place.mirror(self.layout.ledger.parent, self.layout.report.parent)


class Home:
    """Where a dataset lives; pickles, since workers write to it too. See `FolderHome`, `BucketHome`."""

    @property
    def name(self) -> str:
        """The folder's path, or the bucket's URL."""
        raise NotImplementedError

    def holder(self) -> dict[str, Any] | None:
        """Who holds the dataset now: host, pid, started; None if nobody does."""
        raise NotImplementedError

    @contextlib.contextmanager
    def claim(self, scratch: Scratch, grace: timedelta = GRACE) -> Iterator[Claim]:
        """Hold the dataset while the block runs; made where there is none.

        Parameters
        ----------
        scratch : callable
            Makes the folder of a working copy, where one is needed.
        grace : timedelta
            How long a state that is replaced can still be read by who has opened it.

        Raises
        ------
        DatasetError
            ``output-not-ours``; ``dataset-locked``: a living run of this machine, or any run of another
            one, holds it; ``dataset-invalid``, ``dataset-incompatible``: the last commit cannot be read.
        EnvironmentProblem, WriteError
            It cannot be written.
        """
        with self._place(scratch) as place, self._locked(place.layout):
            place.refresh()
            transaction.prepare(place.layout)
            arrange(place, read_manifest(place.get(MANIFEST), self.name))
            yield Claim(self.name, place, verify(place, self.name), grace)

    @contextlib.contextmanager
    def look(self, scratch: Scratch) -> Iterator[View]:
        """Look at the dataset while the block runs; takes no lock, changes nothing."""
        with self._place(scratch) as place:
            yield View(self.name, place)

    def stage(self, scratch: Scratch) -> AbstractContextManager[Stage]:
        """Where a batch's files and rows go; they are the dataset's when the block ends well."""
        raise NotImplementedError

    def _place(self, scratch: Scratch) -> AbstractContextManager[Place]:
        """The dataset's files, while the block runs."""
        raise NotImplementedError

    def _locked(self, layout: Layout) -> AbstractContextManager[None]:
        """Hold the dataset while the block runs."""
        raise NotImplementedError


class FolderHome(Home):
    """A dataset in a folder.

    Parameters
    ----------
    root : Path
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self.root)

    def holder(self) -> dict[str, Any] | None:
        """See `Home`."""
        return holder(Layout(self.root))

    @contextlib.contextmanager
    def stage(self, scratch: Scratch) -> Iterator[Stage]:
        """See `Home`: files go to their places at once."""
        yield Stage(Layout(self.root))

    @contextlib.contextmanager
    def _place(self, scratch: Scratch) -> Iterator[Place]:
        yield FolderPlace(Layout(self.root))

    def _locked(self, layout: Layout) -> AbstractContextManager[None]:
        return locked(layout)


def described(view: View, path: Path) -> dict[str, Any]:
    """A JSON object of the dataset; empty if there is none, or none that can be read."""
    try:
        found = load_json(view.document(path) or b"")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
