"""``dataset.json``, the description of a committed dataset, as readers see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segtools.bounded_json import load_json
from segtools.dataset.pages import MANIFEST, is_listing
from segtools.errors import DatasetError, MissingError

if TYPE_CHECKING:
    from pathlib import Path


def committed_manifest(path: Path, name: str) -> dict[str, Any]:
    """The manifest at `path`, with what readers rely on checked.

    Parameters
    ----------
    path : Path
        Of ``dataset.json``.
    name : str
        The dataset's folder or URL, for messages.

    Raises
    ------
    MissingError
        ``not-found``: there is none.
    DatasetError
        ``dataset-incompatible``: another format version. ``dataset-invalid``: anything else.
    """
    from segtools.schema import FORMAT_VERSION

    try:
        manifest = load_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError("not-found", f"{name} holds no {MANIFEST}.", path=name) from error
    except ValueError as error:
        raise DatasetError(
            "dataset-invalid", f"{path} is not valid JSON: {error}.", path=str(path)
        ) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format_version"), int):
        raise DatasetError(
            "dataset-invalid", f"{path} has no format_version, so it describes no dataset.", path=str(path)
        )
    if manifest["format_version"] != FORMAT_VERSION:
        raise DatasetError(
            "dataset-incompatible",
            f"{path} has format version {manifest['format_version']}; this version of the program reads "
            f"{FORMAT_VERSION}.",
            hint="Read it with the version that wrote it, or run the cohort into a new folder.",
            path=str(path),
        )
    if not is_listing(manifest.get("tables")):
        raise DatasetError("dataset-invalid", f"{path} lists no tables.", path=str(path))
    return manifest
