"""One decoded mask's way back: encoded, validated, indexed and read again."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from segtools.phantom.archive import Archived


def way_back(
    dataset: Path, archive: Path, expected: list[Archived], folder: Path, wrong: list[str]
) -> dict[str, Any]:
    """Encode the first mask of a dataset from its volume, its table and its source images.

    Parameters
    ----------
    dataset : Path
    archive : Path
        Where the source images are.
    expected : list of Archived
        Series of the archive.
    folder : Path
        Of the new object.
    wrong : list of str
        Gets a line for each difference.

    Returns
    -------
    dict
        A row of the demo's table.
    """
    from segtools.decode import read
    from segtools.encode.frames.codecs import RLE
    from segtools.encode.jobs.run import prepare, run
    from segtools.encode.jobs.spec import EncodeJob
    from segtools.encode.write.options import Storage
    from segtools.index import build_index
    from segtools.nifti.reader import read as read_nifti

    start = time.monotonic()
    sources = [item for item in expected if item.modality != "SEG"]
    images = {item.series_uid: (archive / item.paths[0]).parent for item in sources}
    volume, table, sidecar = next(_masks(dataset, images))
    source = next(images[uid] for uid in _sources(sidecar) if uid in images)
    job = EncodeJob((volume,), source, table, storage=Storage("LABELMAP", RLE))
    (done,) = run(prepare(job), folder / f"{sidecar['PatientID']}.dcm")
    report = build_index(folder, folder.with_name("encoded-index"))
    again = read(done.path)
    labels = read_nifti(volume).array
    same = all(
        int(np.count_nonzero(again.mask(segment.number))) == int(np.count_nonzero(labels == segment.number))
        for segment in again.segments
    )
    indexed = report.instances == 1 and report.segments == done.segment_count
    if not same or not indexed:
        wrong.append("the way back: the encoded mask is not the one that was decoded, or not indexed")
    readers = " and ".join(done.quality.readers) if done.quality else "nobody"
    return {
        "patient": sidecar["PatientID"],
        "what": f"the way back: mask to DICOM SEG, read by {readers}, indexed",
        "status": "ok" if same and indexed else "wrong",
        "code": None,
        "segments": done.segment_count,
        "volumes": 1,
        "seconds": round(time.monotonic() - start, 2),
    }


def _masks(dataset: Path, images: dict[str, Path]) -> Any:
    """Volume, table and sidecar of each instance that is one label map with its images at hand."""
    for table in sorted((dataset / "volumes").rglob("*_dseg.tsv")):
        sidecar = json.loads(table.with_suffix(".json").read_text())
        volumes = [table.with_name(name.rpartition("/")[2]) for name in sidecar["Files"]]
        has_images = set(_sources(sidecar)) & images.keys()
        if len(volumes) == 1 and has_images and sidecar["SegmentationType"] != "FRACTIONAL":
            yield volumes[0], table, sidecar


def _sources(sidecar: dict[str, Any]) -> list[str]:
    return [source.removeprefix("urn:oid:") for source in sidecar.get("Sources", ())]
