"""Our own description: YAML, short where short says it all.

::

    series: {description: Liver lesions, number: 300, creator: Reader1}
    subject: {PatientID: P-001, PatientSex: F}         # without source images only
    segments:
      - {label: 1, name: Liver, type: SCT:10200004 Liver}
      - label: 2
        name: Left kidney
        category: SCT:123037004 Anatomical Structure   # the default
        type: SCT:64033007 Kidney
        side: left
        region: SCT:113345001 Abdomen
        algorithm: {type: AUTOMATIC, name: Any Net}
        color: "#B03060"
        tracking: {id: kidney 1, uid: 2.25.7}
        file: 0                                        # which mask file, from 0

A structure that TotalSegmentator knows needs its name only: ``{label: 3, name: spleen}``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml

from segtools.bounded_yaml import BoundedLoader, load_yaml
from segtools.decode.volume import Segment
from segtools.encode.dicom.text import is_uid
from segtools.encode.metadata.description import (
    ANATOMY,
    SIDES,
    Description,
    invalid,
    parse_code,
    parse_color,
)
from segtools.encode.metadata.totalsegmentator import segment_of
from segtools.encode.write.options import Producer
from segtools.terminology.color import srgb_to_cielab
from segtools.terminology.names import close_matches, slug

if TYPE_CHECKING:
    from pathlib import Path

    from segtools.errors import UsageError
    from segtools.terminology.concepts import Concept

_TOP = ("series", "subject", "segments")
_SERIES = {
    "description": "series_description",
    "content_label": "content_label",
    "content_description": "content_description",
    "creator": "content_creator",
    "body_part": "body_part",
    "manufacturer": "manufacturer",
    "model": "model",
    "version": "version",
    "trial_series_id": "trial_series_id",
    "trial_time_point_id": "trial_time_point_id",
    "trial_center": "trial_center",
}
_SUBJECT = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
            "StudyID", "AccessionNumber", "FrameOfReferenceUID", "BodyPartExamined")  # fmt: skip
_SEGMENT = ("label", "layer", "file", "name", "description", "category", "type", "side", "region",
            "modifiers", "algorithm", "color", "tracking")  # fmt: skip
_ALGORITHMS = ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL")


def read_own(path: Path) -> Description:
    """Read a description in YAML.

    Raises
    ------
    UsageError
        ``metadata-invalid``, with line and key.
    OSError
    """
    return _Reader(path).description()


class _Reader:
    """One document."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._text = path.read_text("utf-8-sig")
            self.content = load_yaml(self._text)
        except UnicodeDecodeError as error:
            raise invalid(path, f"it is not UTF-8 at byte {error.start}") from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            what = getattr(error, "problem", None) or "it cannot be parsed"
            raise invalid(
                path, f"it is not valid YAML: {what}", line=mark.line + 1 if mark else None
            ) from error
        except (RecursionError, ValueError) as error:
            raise invalid(path, f"it cannot be read: {error}") from error

    def description(self) -> Description:
        top = self._mapping(self.content, (), _TOP)
        items = top.get("segments")
        if not isinstance(items, list) or not items:
            raise self.refuse(("segments",), "it must be a list of segments, and not empty")
        files: dict[int, dict[tuple[int, int], Segment]] = {}
        for n, item in enumerate(items):
            at = ("segments", n)
            each = self._mapping(item, at, _SEGMENT)
            number, layer = self._whole(each, at, "file", 0), self._whole(each, at, "layer", 0)
            segment = self._segment(each, at)
            found = files.setdefault(number, {})
            if (layer, segment.number) in found:
                raise self.refuse((*at, "label"), f"label {segment.number} is described twice")
            found[layer, segment.number] = segment
        if sorted(files) != list(range(len(files))):
            raise self.refuse(("segments",), f"'file' counts from 0 without gaps, not {sorted(files)}")
        series = self._mapping(top.get("series") or {}, ("series",), (*_SERIES, "number"))
        texts: dict[str, Any] = {_SERIES[key]: str(series[key]) for key in series if key != "number"}
        subject = self._mapping(top.get("subject") or {}, ("subject",), _SUBJECT)
        return Description(
            tuple(files[n] for n in sorted(files)),
            replace(Producer(), **texts),
            self._whole(series, ("series",), "number", 100),
            subject={key: str(value) for key, value in subject.items()},
        )

    def _segment(self, item: dict[str, Any], at: tuple[str | int, ...]) -> Segment:
        label = self._whole(item, at, "label", None)
        if not 1 <= label <= 65_535:
            raise self.refuse((*at, "label"), f"it is {label}; 1 to 65535 can be written")
        name = item.get("name")
        if not isinstance(name, str) or not name.strip():
            raise self.refuse((*at, "name"), "a segment needs a name")
        segment = self._coded(item, at, label, name)
        algorithm = self._mapping(item.get("algorithm") or {}, (*at, "algorithm"), ("type", "name"))
        kind = algorithm.get("type", segment.algorithm_type or "MANUAL")
        if kind not in _ALGORITHMS:
            raise self.refuse((*at, "algorithm", "type"), f"it is {kind!r}, none of {', '.join(_ALGORITHMS)}")
        tracking = self._mapping(item.get("tracking") or {}, (*at, "tracking"), ("id", "uid"))
        uid = str(tracking["uid"]) if "uid" in tracking else None
        if uid and not is_uid(uid):
            raise self.refuse((*at, "tracking", "uid"), f"{uid[:64]!r} is not a UID")
        cielab = segment.cielab
        if "color" in item:
            rgb = parse_color(str(item["color"]))
            if rgb is None:
                raise self.refuse((*at, "color"), f"{item['color']!r} is not a colour; write it as '#RRGGBB'")
            cielab = srgb_to_cielab(rgb)
        return replace(
            segment,
            label=name.strip(),
            description=str(item["description"]) if "description" in item else segment.description,
            algorithm_type=kind,
            algorithm_name=str(algorithm["name"]) if "name" in algorithm else segment.algorithm_name,
            cielab=cielab,
            tracking_id=str(tracking["id"]) if "id" in tracking else None,
            tracking_uid=uid,
        )

    def _coded(self, item: dict[str, Any], at: tuple[str | int, ...], label: int, name: str) -> Segment:
        of_type = self._code(item, at, "type")
        if of_type is None:
            known = segment_of(slug(name), label)
            if known is None:
                raise self.refuse(
                    at, f"it needs a type, as SCT:10200004 Liver; {name!r} is not a structure known by name"
                )
            return known if "algorithm" in item else replace(known, algorithm_type=None, algorithm_name=None)
        modifiers = [self._parsed(text, (*at, "modifiers")) for text in item.get("modifiers") or ()]
        side = item.get("side")
        if side is not None:
            if side not in SIDES:
                raise self.refuse((*at, "side"), f"it is {side!r}, none of {', '.join(SIDES)}")
            modifiers.insert(0, SIDES[side])
        region = self._code(item, at, "region")
        return Segment(
            label,
            name,
            category=self._code(item, at, "category") or ANATOMY,
            type=of_type,
            type_modifiers=tuple(modifiers),
            regions=(region,) if region else (),
        )

    def _code(self, item: dict[str, Any], at: tuple[str | int, ...], name: str) -> Concept | None:
        return self._parsed(item[name], (*at, name)) if name in item else None

    def _parsed(self, text: object, at: tuple[str | int, ...]) -> Concept:
        code = parse_code(text) if isinstance(text, str) else None
        if code is None:
            raise self.refuse(
                at,
                f"{text!r} is not a code; write it as SCHEME:VALUE Meaning, for example SCT:10200004 Liver",
            )
        return code

    # --- values ------------------------------------------------------------------------------------

    def _mapping(self, value: Any, at: tuple[str | int, ...], known: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.refuse(at, f"it must be a mapping, not {type(value).__name__}")
        if unknown := [str(name) for name in value if name not in known]:
            close = close_matches(unknown[0], known)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise self.refuse((*at, unknown[0]), f"the key {unknown[0]!r} is not known here; {hint}")
        return value

    def _whole(self, item: dict[str, Any], at: tuple[str | int, ...], name: str, default: int | None) -> int:
        value = item.get(name, default)
        if type(value) is not int or not 0 <= value < 2**31:
            raise self.refuse((*at, name), f"it must be a whole number, not {value!r}")
        return value

    def refuse(self, keys: tuple[str | int, ...], what: str) -> UsageError:
        """Make the error of a value, by its keys from the top."""
        name = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
        return invalid(self.path, what, line=self._line(keys), key=name)

    def _line(self, keys: tuple[str | int, ...]) -> int | None:
        node, line = yaml.compose(self._text, Loader=BoundedLoader), None
        for key in keys:
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == key), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
                line = node.start_mark.line + 1
        return line
