"""Hugging Face ``datasets``: label maps, images and ``metadata.jsonl`` with front matter in README.md.

``load_dataset(folder)`` of the datasets library reads it: https://huggingface.co/docs/datasets, "nifti".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from segtools.export.target import ExportFacts, split_of
from segtools.files import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from segtools.export.cases import Case

_README = """\
---
configs:
- config_name: default
  data_files:
{files}
---
# {name}

One row per case: paths of the label map and the image, the structures in it, licence and source.
Labels: {labels}.
"""


class HuggingFace:
    """One table per split, ``<split>.jsonl``, with paths relative to the folder."""

    needs_images = False
    can_overlap = True

    def label_map(self, case: Case) -> str:
        """``labels/<case>.nii.gz``."""
        return f"labels/{case.name}.nii.gz"

    def image(self, case: Case) -> str:
        """``images/<case>.nii.gz``."""
        return f"images/{case.name}.nii.gz"

    def finish(self, folder: Path, facts: ExportFacts) -> None:
        """Write one table per split, and the README with its front matter."""
        tables: dict[str, list[str]] = {}
        for entry in facts.entries:
            case = entry.case
            row = {
                "case": case.name,
                "collection_id": case.series["collection_id"],
                "patient_id": case.series["patient_id"],
                "seg_series_uid": case.series["seg_series_uid"],
                "modality": case.modality,
                "structures": [segment["structure"] for segment in case.segments],
                "label_ids": [facts.table.ids[segment["structure"]] for segment in case.segments],
                "license": case.series.get("license"),
                "label_map": entry.label_map,
                "image": entry.image,
            }
            tables.setdefault(split_of(entry), []).append(json.dumps(row, ensure_ascii=False))
        for split, rows in tables.items():
            write_bytes(folder / f"{split}.jsonl", ("\n".join(rows) + "\n").encode("utf-8", "replace"))
        files = "\n".join(f"  - split: {split}\n    path: {split}.jsonl" for split in sorted(tables))
        labels = ", ".join(f"{number} {name}" for name, number in facts.table.ids.items()) or "none"
        text = _README.format(files=files, name=facts.name, labels=labels)
        write_bytes(folder / "README.md", text.encode("utf-8", "replace"))
