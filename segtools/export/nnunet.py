"""nnU-Net v2: ``imagesTr``, ``labelsTr``, ``dataset.json``, ``splits_final.json``.

Format: nnU-Net's documentation/dataset_format.md and region_based_training.md (version 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segtools.errors import ExportError
from segtools.export.target import ExportFacts, split_of
from segtools.files import dump_json, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from segtools.export.cases import Case


class NnUNet:
    """Cases of the split ``test`` go to ``imagesTs``, the others to ``imagesTr``."""

    needs_images = True
    can_overlap = True

    def label_map(self, case: Case) -> str:
        """``labelsTr/<case>.nii.gz``."""
        return f"labels{_part(case)}/{case.name}.nii.gz"

    def image(self, case: Case) -> str:
        """``imagesTr/<case>_0000.nii.gz``: channel 0."""
        return f"images{_part(case)}/{case.name}_0000.nii.gz"

    def finish(self, folder: Path, facts: ExportFacts) -> None:
        """Write dataset.json and, where the dataset has splits, splits_final.json.

        Raises
        ------
        ExportError
            ``export-mixed-modality``: nnU-Net normalises by channel, so all cases need one modality.
        """
        modalities = sorted({entry.case.modality or "unknown" for entry in facts.entries})
        if len(modalities) > 1:
            raise ExportError(
                "export-mixed-modality",
                f"The cases have images of {', '.join(modalities)}; nnU-Net needs one modality.",
            )
        training = [entry for entry in facts.entries if split_of(entry) != "test"]
        content: dict[str, Any] = {
            "name": facts.name,
            "channel_names": {"0": modalities[0] if modalities else "unknown"},
            "labels": {"background": 0, **_labels(facts)},
            "numTraining": len(training),
            "file_ending": ".nii.gz",
        }
        if facts.has_regions:
            content["regions_class_order"] = [facts.table.ids[name] for name in facts.regions]
        write_bytes(folder / "dataset.json", dump_json(content))
        if any(split_of(entry) == "val" for entry in training):
            fold = {
                part: [entry.case.name for entry in training if split_of(entry) == part]
                for part in ("train", "val")
            }
            write_bytes(folder / "splits_final.json", dump_json([fold]))


def _part(case: Case) -> str:
    return "Ts" if (case.split or "").lower().startswith("test") else "Tr"


def _labels(facts: ExportFacts) -> dict[str, int | list[int]]:
    if not facts.has_regions:
        return dict(facts.table.ids)
    return {name: values if len(values) > 1 else values[0] for name, values in facts.regions.items()}
