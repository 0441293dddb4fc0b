"""dcmqi's JSON (doc/schemas/seg-schema.json): what its users have.

Top-level and segment keys, ``segmentAttributes`` as lists per file, ``segmentAttributesFileMapping``.
Keys that the schema does not know are refused, as it refuses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segtools.decode.volume import Segment
from segtools.encode.dicom.text import is_uid
from segtools.encode.metadata.description import Description
from segtools.encode.metadata.json_text import JsonFile, Key
from segtools.encode.write.options import Producer
from segtools.terminology.color import srgb_to_cielab
from segtools.terminology.concepts import Concept

if TYPE_CHECKING:
    from pathlib import Path

_TOP = frozenset(
    {
        "@schema",
        "ContentCreatorName",
        "ClinicalTrialSeriesID",
        "ClinicalTrialTimePointID",
        "ClinicalTrialCoordinatingCenterName",
        "ContentLabel",
        "ContentDescription",
        "SeriesDescription",
        "SeriesNumber",
        "InstanceNumber",
        "BodyPartExamined",
        "segmentAttributesFileMapping",
        "segmentAttributes",
    }
)
_TEXTS = _TOP - {"segmentAttributes", "segmentAttributesFileMapping", "SeriesNumber", "InstanceNumber"}
_SEGMENT = frozenset(
    {
        "labelID",
        "SegmentLabel",
        "SegmentDescription",
        "SegmentedPropertyCategoryCodeSequence",
        "SegmentedPropertyTypeCodeSequence",
        "SegmentedPropertyTypeModifierCodeSequence",
        "AnatomicRegionSequence",
        "AnatomicRegionModifierSequence",
        "SegmentAlgorithmType",
        "SegmentAlgorithmName",
        "recommendedDisplayRGBValue",
        "RecommendedDisplayCIELabValue",
        "TrackingIdentifier",
        "TrackingUniqueIdentifier",
    }
)
_CODE = frozenset({"CodeValue", "CodingSchemeDesignator", "CodeMeaning"})
_ALGORITHMS = ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL")


def read_dcmqi(path: Path) -> Description:
    """Read a description.

    Raises
    ------
    UsageError
        ``metadata-invalid``, with line and key.
    OSError
    """
    return _Reader(JsonFile(path)).description()


class _Reader:
    """One document; every method is given the keys from the top, to name what is wrong."""

    def __init__(self, file: JsonFile) -> None:
        self.file = file

    def description(self) -> Description:
        top = self._object(self.file.content, (), _TOP)
        lists = self._list(top, (), "segmentAttributes")
        files = []
        for n, segments in enumerate(lists):
            if not isinstance(segments, list) or not segments:
                raise self.file.refuse(
                    ("segmentAttributes", n), "it must be a list of the segments of one file"
                )
            files.append(self._segments(segments, ("segmentAttributes", n)))
        return Description(
            tuple(files),
            self._producer(top),
            self._integer(top, (), "SeriesNumber", 300),
            tuple(self._mapping(top, len(files))),
            keeps_labels=False,
        )

    def _mapping(self, top: dict[str, Any], count: int) -> list[str]:
        if "segmentAttributesFileMapping" not in top:
            return []
        names = self._list(top, (), "segmentAttributesFileMapping")
        key = ("segmentAttributesFileMapping",)
        if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
            raise self.file.refuse(key, "it must be a list of different file names")
        if len(names) != count:
            raise self.file.refuse(key, f"it names {len(names)} files, segmentAttributes describes {count}")
        return [name.replace("\\", "/").rpartition("/")[2] for name in names]

    def _producer(self, top: dict[str, Any]) -> Producer:
        text = {name: self._text(top, (), name) for name in _TEXTS}
        return Producer(
            series_description=text["SeriesDescription"] or "Segmentation",
            content_label=text["ContentLabel"] or "SEGMENTATION",
            content_description=text["ContentDescription"] or "Image segmentation",
            content_creator=text["ContentCreatorName"] or "Reader1",
            body_part=text["BodyPartExamined"] or "",
            trial_series_id=text["ClinicalTrialSeriesID"] or "Session1",
            trial_time_point_id=text["ClinicalTrialTimePointID"] or "1",
            trial_center=text["ClinicalTrialCoordinatingCenterName"] or "",
            instance_number=self._integer(top, (), "InstanceNumber", 1),
        )

    def _segments(self, items: list[Any], keys: tuple[Key, ...]) -> dict[tuple[int, int], Segment]:
        found: dict[tuple[int, int], Segment] = {}
        for n, item in enumerate(items):
            at = (*keys, n)
            segment = self._segment(self._object(item, at, _SEGMENT), at)
            if (0, segment.number) in found:
                raise self.file.refuse(
                    (*at, "labelID"), f"label {segment.number} is described twice in one file"
                )
            found[0, segment.number] = segment
        return found

    def _segment(self, item: dict[str, Any], at: tuple[Key, ...]) -> Segment:
        label = self._integer(item, at, "labelID", None)
        if not 1 <= label <= 65_535:
            raise self.file.refuse((*at, "labelID"), f"it is {label}; 1 to 65535 can be written")
        kind = self._text(item, at, "SegmentAlgorithmType") or "SEMIAUTOMATIC"
        if kind not in _ALGORITHMS:
            raise self.file.refuse(
                (*at, "SegmentAlgorithmType"), f"it is {kind!r}, none of {', '.join(_ALGORITHMS)}"
            )
        uid = self._text(item, at, "TrackingUniqueIdentifier")
        if uid and not is_uid(uid):
            raise self.file.refuse((*at, "TrackingUniqueIdentifier"), f"{uid[:64]!r} is not a UID")
        category = self._code(item, at, "SegmentedPropertyCategoryCodeSequence")
        of_type = self._code(item, at, "SegmentedPropertyTypeCodeSequence")
        for name, code in (("Category", category), ("Type", of_type)):
            if code is None:
                raise self.file.refuse(at, f"SegmentedProperty{name}CodeSequence is absent")
        modifier = self._code(item, at, "SegmentedPropertyTypeModifierCodeSequence")
        region = self._code(item, at, "AnatomicRegionSequence")
        of_region = self._code(item, at, "AnatomicRegionModifierSequence")
        description = self._text(item, at, "SegmentDescription")
        return Segment(
            label,
            self._text(item, at, "SegmentLabel") or description or (of_type.meaning if of_type else None),
            description=description,
            category=category,
            type=of_type,
            type_modifiers=(modifier,) if modifier else (),
            regions=(region,) if region else (),
            region_modifiers=(of_region,) if of_region and region else (),
            algorithm_type=kind,
            algorithm_name=self._text(item, at, "SegmentAlgorithmName"),
            cielab=self._color(item, at),
            tracking_id=self._text(item, at, "TrackingIdentifier"),
            tracking_uid=uid,
        )

    def _color(self, item: dict[str, Any], at: tuple[Key, ...]) -> tuple[int, int, int] | None:
        for name, largest in (("RecommendedDisplayCIELabValue", 65_535), ("recommendedDisplayRGBValue", 255)):
            value = item.get(name)
            if value is None:
                continue
            whole = isinstance(value, list) and all(
                type(part) is int and 0 <= part <= largest for part in value
            )
            if not whole or len(value) != 3:
                raise self.file.refuse(
                    (*at, name), f"it is {value!r}; three whole numbers from 0 to {largest} are needed"
                )
            color = (int(value[0]), int(value[1]), int(value[2]))
            return color if largest > 255 else srgb_to_cielab(color)
        return None

    def _code(self, item: dict[str, Any], at: tuple[Key, ...], name: str) -> Concept | None:
        if name not in item:
            return None
        keys = (*at, name)
        code = self._object(item[name], keys, _CODE)
        parts = [
            self._text(code, keys, part) for part in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
        ]
        if not all(parts):
            raise self.file.refuse(keys, "CodeValue, CodingSchemeDesignator and CodeMeaning are needed")
        return Concept(*(part or "" for part in parts))

    # --- values ------------------------------------------------------------------------------------

    def _object(self, value: Any, keys: tuple[Key, ...], known: frozenset[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.file.refuse(keys, f"it must be an object, not {type(value).__name__}")
        if unknown := [name for name in value if name not in known]:
            from segtools.terminology.names import close_matches

            close = close_matches(unknown[0], known)
            hint = f"; did you mean {close[0]!r}" if close else ""
            raise self.file.refuse((*keys, unknown[0]), f"the key {unknown[0]!r} is not known here{hint}")
        return value

    def _list(self, item: dict[str, Any], keys: tuple[Key, ...], name: str) -> list[Any]:
        value = item.get(name)
        if not isinstance(value, list) or not value:
            raise self.file.refuse((*keys, name), "it must be a list, and not empty")
        return value

    def _text(self, item: dict[str, Any], keys: tuple[Key, ...], name: str) -> str | None:
        value = item.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.file.refuse((*keys, name), f"it must be text, not {value!r}")
        return value.strip() or None

    def _integer(self, item: dict[str, Any], keys: tuple[Key, ...], name: str, default: int | None) -> int:
        value = item.get(name, default)
        if isinstance(value, str) and value.strip().isdigit() and len(value) < 13:
            value = int(value)
        if type(value) is not int or not 0 <= value < 2**31:
            raise self.file.refuse(
                (*keys, name),
                f"it must be a whole number, not {value!r}" if name in item else f"{name} is absent",
            )
        return value
