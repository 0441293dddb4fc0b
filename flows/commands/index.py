"""Commands that make tables to select from: index, mirror."""

from __future__ import annotations

import importlib.metadata
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.console import (
    counting,
    note,
    path_text,
    print_json,
    summary_lines,
)

if TYPE_CHECKING:
    from segtools.index import Skipped


def index(
    source: str,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    collection: str | None = None,
    url_base: str | None = None,
    endpoint: str | None = None,
    checksum: bool | None = None,
    json: bool = False,
) -> int:
    """Index a folder of DICOM SEG files in IDC's schema.

    Parameters
    ----------
    source
        Folder with DICOM files, or s3://bucket/prefix, or gs://bucket/prefix.
    output
        Folder for the index: three Parquet tables.
    collection
        Name of the collection; default: what the archive's collections file says, or the folder's name.
    url_base
        URL under which the folder is served, s3://bucket/prefix; default: its file:// URLs.
    endpoint
        Of the bucket; default: AWS, or Google for gs://.
    checksum
        Compute MD5 sums, which reads all bytes; default: of files that are not large.
    json
        Machine-readable output.
    """
    from segtools.index import build_index

    with counting("indexed", "files") as tell:
        report = build_index(
            source,
            output,
            collection=collection,
            url_base=url_base,
            endpoint=endpoint,
            checksum=checksum,
            on_progress=tell,
        )
    if json:
        print_json(
            {
                "index": str(report.out),
                "files": report.files,
                "series": report.series,
                "image_series": report.image_series,
                "segments": report.segments,
                "skipped": [_row(skipped) for skipped in report.skipped],
                "doubts": [_row(doubt) for doubt in report.doubts],
            }
        )
        return 0
    for skipped in report.skipped:
        note(f"skipped [{skipped.code}] {path_text(skipped.path)}: {skipped.message}")
    for doubt in report.doubts:
        note(f"hint [{doubt.code}] {path_text(doubt.path)}: {doubt.message}")
    summary_lines(
        [
            ("files", report.files),
            ("SEG series", report.series),
            ("segments", report.segments),
            ("image series", report.image_series),
            ("skipped", len(report.skipped)),
            ("index", report.out),
        ]
    )
    return 0


def _row(found: Skipped) -> dict[str, str]:
    return asdict(found) | {"path": path_text(found.path)}


def mirror(
    version: int | None = None,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
) -> None:
    """Download IDC's segmentations table and indexes of images, to select by structure and image.

    They are public: no account is needed. An interrupted download goes on where it stopped.

    Parameters
    ----------
    version
        IDC release; default: the newest that idc-index-data knows.
    output
        Folder of mirrors; default: the setting sources.mirror.
    """
    from flows.settings import load_settings
    from segtools.objectstore.urls import GOOGLE
    from segtools.select import Sources, mirror_indexes
    from segtools.select import mirror as download

    settings = load_settings()
    folder = output or settings.sources.mirror.expanduser()
    release = version if version is not None else Sources().newest_release()
    note(f"mirroring segmentations of IDC v{release} into {folder} …")
    # The export is public and on AWS, wherever the cohort's own files are.
    options = replace(settings.fetch, endpoint=None, anonymous=True, profile=None, credentials_file=None)
    note(f"wrote {download(folder, release, options)}")
    if release != Sources().newest_release():
        note("indexes of images are mirrored for the newest release only")
        return
    options = replace(options, endpoint=GOOGLE)
    files = mirror_indexes(folder, release, importlib.metadata.version("idc-index-data"), options)
    note(f"wrote {', '.join(path.name for path in files)}")
