"""MONAI: images, label maps and a datalist (``load_decathlon_datalist``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segtools.export.target import ExportFacts, split_of
from segtools.files import dump_json, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from segtools.export.cases import Case

_KEYS = {"train": "training", "val": "validation", "test": "test"}


class Monai:
    """``datalist.json`` beside ``images/`` and ``labels/``; keys by split."""

    needs_images = False
    can_overlap = True

    def label_map(self, case: Case) -> str:
        """``labels/<case>.nii.gz``."""
        return f"labels/{case.name}.nii.gz"

    def image(self, case: Case) -> str:
        """``images/<case>.nii.gz``."""
        return f"images/{case.name}.nii.gz"

    def finish(self, folder: Path, facts: ExportFacts) -> None:
        """Write ``datalist.json``."""
        listed: dict[str, list[dict[str, str]]] = {key: [] for key in _KEYS.values()}
        for entry in facts.entries:
            item = {"image": entry.image} if entry.image else {}
            listed.setdefault(_KEYS.get(split_of(entry), split_of(entry)), []).append(
                {**item, "label": entry.label_map, "case": entry.case.name, "subject": entry.case.subject}
            )
        content: dict[str, Any] = {
            "name": facts.name,
            "labels": {"0": "background", **{str(n): name for name, n in facts.table.ids.items()}},
            **({"regions": facts.regions} if facts.has_regions else {}),
            "numTraining": len(listed["training"]),
            **listed,
        }
        write_bytes(folder / "datalist.json", dump_json(content))
