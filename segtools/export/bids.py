"""BIDS derivatives: ``sub-…/ses-…/anat/…_dseg.nii.gz`` with look-up tables.

https://bids-specification.readthedocs.io/en/stable/derivatives/imaging.html. BIDS knows no CT or PET
file in ``anat`` (BEP 024 is a draft); such images are listed in ``.bidsignore``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.export.target import ExportFacts
from segtools.files import dump_json, tsv, write_bytes
from segtools.version import DECODER

if TYPE_CHECKING:
    from pathlib import Path

    from segtools.export.cases import Case

BIDS_VERSION = "1.10.0"


class Bids:
    """One look-up table per label map, as the standard wants it."""

    needs_images = False
    can_overlap = False

    def label_map(self, case: Case) -> str:
        """``sub-<subject>/ses-<study>/anat/…_desc-<instance>_dseg.nii.gz``."""
        return f"{_stem(case)}_dseg.nii.gz"

    def image(self, case: Case) -> str:
        """The same with the modality as suffix."""
        return f"{_stem(case)}_{'MRI' if case.modality == 'MR' else case.modality or 'image'}.nii.gz"

    def finish(self, folder: Path, facts: ExportFacts) -> None:
        """Write ``dataset_description.json``, participants, sidecars and look-up tables."""
        name, _, version = DECODER.partition("/")
        description = {
            "Name": facts.name,
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": name, "Version": version}],
        }
        write_bytes(folder / "dataset_description.json", dump_json(description))
        write_bytes(folder / "README.md", f"# {facts.name}\n\nLabel maps of an IDC cohort.\n".encode())
        ignored = sorted({entry.image for entry in facts.entries if entry.image})
        if ignored:
            write_bytes(folder / ".bidsignore", "".join(f"{path}\n" for path in ignored).encode())
        people = {entry.case.subject: entry.case.series for entry in facts.entries}
        rows = [
            (f"sub-{subject}", row["collection_id"], row["patient_id"])
            for subject, row in sorted(people.items())
        ]
        write_bytes(
            folder / "participants.tsv", tsv([("participant_id", "collection_id", "patient_id"), *rows])
        )
        write_bytes(folder / "participants.json", dump_json(_PARTICIPANTS))
        table = tsv(
            [
                ("index", "name", "color"),
                *((number, name, facts.table.colors[name]) for name, number in facts.table.ids.items()),
            ]
        )
        for entry in facts.entries:
            stem = folder / entry.label_map.removesuffix(".nii.gz")
            write_bytes(stem.with_name(f"{stem.name}.tsv"), table)
            write_bytes(stem.with_name(f"{stem.name}.json"), dump_json(_sidecar(entry.case)))


_PARTICIPANTS = {
    "collection_id": {"Description": "Collection; PatientID is unique only within one."},
    "patient_id": {"Description": "PatientID (0010,0020)."},
}


def _sidecar(case: Case) -> dict[str, object]:
    source = case.series.get("source_series_uid")
    return {
        "SpatialReference": f"urn:oid:{source}" if source else "orig",
        "Sources": [f"urn:oid:{case.series['seg_series_uid']}"],
        "License": case.series.get("license") or "not stated",
    }


def _stem(case: Case) -> str:
    entities = f"sub-{case.subject}_ses-{case.session}_desc-{case.name.rpartition('-')[2]}"
    return f"sub-{case.subject}/ses-{case.session}/anat/{entities}"
