"""Where a dataset lives, as a run sees it.

A run works on a `Layout`. For a dataset in a folder that is the dataset itself, and there is nothing
to bring or send. For one in a bucket (`segtools.dataset.bucket_storage`) it is a working copy of all but
the volumes, and the methods say when what others wrote is fetched and when what is here is published.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from segtools.dataset.layout import Layout
from segtools.dataset.lock import holder, locked
from segtools.dataset.reader import Dataset, open_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Scratch = Callable[[], AbstractContextManager[Path]]
"""Makes an empty folder that vanishes with its block."""


class Home(Protocol):
    """A dataset's place; pickles, since workers write to it too."""

    @property
    def name(self) -> str:
        """The folder's path, or the bucket's URL."""

    def opened(self, scratch: Scratch) -> AbstractContextManager[Layout]:
        """The layout to work on while the block runs; nothing is brought yet.

        Raises
        ------
        DatasetError
            ``output-not-ours``.
        """

    def locked(self, layout: Layout) -> AbstractContextManager[None]:
        """Hold the dataset while the block runs; errors as in `segtools.dataset.lock.locked`."""

    def holder(self) -> dict[str, Any] | None:
        """Who holds the dataset now; see `segtools.dataset.lock.holder`."""

    def bring(self, layout: Layout, *paths: Path) -> None:
        """Make files, and all below folders, what they are there; default: everything but the volumes."""

    def send(self, layout: Layout, *paths: Path) -> None:
        """Put single files there, in this order."""

    def log(self, layout: Layout, name: str, lines: bytes) -> None:
        """Keep ledger lines there, in a file of their own."""

    def outbox(self, scratch: Scratch) -> AbstractContextManager[Layout]:
        """The layout for what a batch gives; what is in it is delivered when the block ends well."""

    def publish(self, layout: Layout, parts: Sequence[str]) -> None:
        """Make the commit of the layout the dataset's; `parts` are those that went into it."""

    def finish(self, layout: Layout) -> None:
        """Leave the records of runs and the report as they are in the layout."""

    def dataset(self, layout: Layout) -> Dataset:
        """The committed dataset, for reading."""


class FolderHome:
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

    @contextlib.contextmanager
    def opened(self, scratch: Scratch) -> Iterator[Layout]:
        """The dataset itself; whether it is ours is seen when it is prepared."""
        yield Layout(self.root)

    def locked(self, layout: Layout) -> AbstractContextManager[None]:
        """See `Home`."""
        return locked(layout)

    def holder(self) -> dict[str, Any] | None:
        """See `Home`."""
        return holder(Layout(self.root))

    def bring(self, layout: Layout, *paths: Path) -> None:
        """Everything is here."""

    def send(self, layout: Layout, *paths: Path) -> None:
        """Everything is here."""

    def log(self, layout: Layout, name: str, lines: bytes) -> None:
        """The ledger itself is here."""

    @contextlib.contextmanager
    def outbox(self, scratch: Scratch) -> Iterator[Layout]:
        """The dataset itself: volumes are written in their places."""
        yield Layout(self.root)

    def publish(self, layout: Layout, parts: Sequence[str]) -> None:
        """The commit published it."""

    def finish(self, layout: Layout) -> None:
        """Everything is here."""

    def dataset(self, layout: Layout) -> Dataset:
        """See `Home`."""
        return open_dataset(self.root)
