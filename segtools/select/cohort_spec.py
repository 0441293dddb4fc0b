"""What a cohort is: the fields of a cohort file, and which combinations make sense."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from segtools.terminology.laterality import Laterality

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_SCHEME = r"[A-Za-z0-9_]{1,16}"
_VALUE = r"[A-Za-z0-9._^-]{1,64}"
_SHORT_CODE = re.compile(rf"^({_SCHEME}):({_VALUE})(?:/(left|right|bilateral))?$")

_T = TypeVar("_T")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Code(_Model):
    """A coded concept, in short `"SCT:10200004"` or, with a side, `"SCT:64033007/left"`."""

    scheme: str = Field(pattern=f"^{_SCHEME}$", description="Coding Scheme Designator (0008,0102).")
    value: str = Field(pattern=f"^{_VALUE}$", description="Code Value (0008,0100), in quotes.")
    laterality: Laterality | None = Field(None, description="Only this side of it.")

    @property
    def key(self) -> str:
        """``scheme:value``, without the side."""
        return f"{self.scheme}:{self.value}"

    def __str__(self) -> str:
        return f"{self.key}/{self.laterality}" if self.laterality else self.key


def code_of(text: str) -> Code | None:
    """The code that a text as ``SCT:64033007/left`` is; None for any other."""
    found = _SHORT_CODE.match(text)
    if found is None:
        return None
    return Code.model_validate({"scheme": found[1], "value": found[2], "laterality": found[3]})


def _concept(value: Any) -> Any:
    if isinstance(value, str):
        return code_of(value) or value
    if type(value) is int:
        raise ValueError(f'{value} is a number; write a code with its scheme, as "SCT:{value}"')
    return value


def _text(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        raise ValueError(f"{value!r} was read as a number or truth value; write it in quotes")  # noqa: TRY004
    return value


def _several(value: Any) -> Any:
    """A list as a tuple; one value stands for a list of one; nothing may occur twice."""
    if value is None:
        raise ValueError("the list is empty; leave the key out instead")
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values:
        raise ValueError("the list is empty; leave the key out instead")
    for position, item in enumerate(values):
        if len(values) < 10_000 and item in values[:position]:
            raise ValueError(f"{item!r} is named twice")
    return tuple(values)


_Name = Annotated[str, BeforeValidator(_text), Field(min_length=1, max_length=256)]
_Uid = Annotated[str, BeforeValidator(_text), Field(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)]
_Concept = Annotated[Code | _Name, BeforeValidator(_concept)]


if TYPE_CHECKING:
    _ManyOf = tuple[_T, ...]
else:

    class _ManyOf:
        """`_ManyOf[X]`: none, one or several X, kept as a tuple."""

        def __class_getitem__(cls, item: Any) -> Any:
            return Annotated[tuple[item, ...], BeforeValidator(_several)]


class Sample(_Model):
    """A reproducible random part: the same seed takes the same patients or series on any engine."""

    patients: int | None = Field(
        None, ge=1, description="This many patients, with all their matching series."
    )
    series: int | None = Field(None, ge=1, description="This many series.")
    seed: int = Field(0, ge=0, description="Another seed takes others.")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.patients is None) == (self.series is None):
            raise ValueError("a sample counts either patients or series")
        return self


class Output(_Model):
    """What is written for each series."""

    volumes: Literal["labelmap", "masks", "none"] = Field(
        "labelmap", description="One label map, one mask per segment besides, or only the tables."
    )
    grid: Literal["seg", "source"] = Field(
        "seg", description="The segmentation's own grid, or padded to the source images' grid."
    )
    labels: dict[_Name, Annotated[int, Field(ge=1, le=65535)]] = Field(
        default_factory=dict, description="Cohort-wide label per structure; several structures may share one."
    )


class Source(_Model):
    """Which tables are asked."""

    index: _ManyOf[_Name] = Field((), description="Folders made by `idcseg index`, relative to this file.")
    idc: bool | None = Field(default=None, description="IDC itself; default: only where no index is given.")


class Exclude(_Model):
    """Series that are left out even where they match."""

    collections: _ManyOf[_Name] = ()
    analysis_results: _ManyOf[_Name] = ()
    licenses: _ManyOf[_Name] = ()
    patients: _ManyOf[_Name] = ()
    series_uids: _ManyOf[_Uid] = ()


class UserQuery(_Model):
    """A query folder of one's own, which names the series (`seg_series_uid`) to choose from."""

    folder: _Name = Field(description="Folder with query.sql and query.yaml, relative to this file.")
    parameters: dict[_Name, Any] = Field(default_factory=dict, description="Values of its parameters.")


def _query(value: Any) -> Any:
    return {"folder": value} if isinstance(value, str) else value


class CohortSpec(_Model):
    """A cohort of segmentations.

    Filters of different keys must all hold; values of one key are alternatives.
    """

    name: SkipJsonSchema[str] = Field("cohort", pattern=NAME_PATTERN)
    description: str = Field("", max_length=2000, description="For people; goes to the dataset's README.")
    idc_version: Annotated[int, Field(ge=1, le=999)] | Literal["latest"] = Field(
        "latest", description="IDC release; `latest` is resolved once per run and recorded."
    )
    collections: _ManyOf[_Name] = Field((), description="Collections, as `nlst`.")
    analysis_results: _ManyOf[_Name] = Field((), description="Analysis results, as `bamf_aimi_annotations`.")
    structures: _ManyOf[_Concept] = Field(
        (), description="Segmented property types: names (`liver`, `kidney_left`) or codes (`SCT:10200004`)."
    )
    categories: _ManyOf[_Concept] = Field((), description="Segmented property categories.")
    regions: _ManyOf[_Concept] = Field((), description="Anatomic regions.")
    laterality: _ManyOf[Laterality] = Field((), description="Sides, from a type or region modifier.")
    algorithm_types: _ManyOf[Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"]] = ()
    algorithm_names: _ManyOf[_Name] = Field((), description="SegmentAlgorithmName, exactly as written.")
    licenses: _ManyOf[_Name] = Field((), description="Short names, as `CC BY 4.0`.")
    patients: _ManyOf[_Name] = Field((), description="PatientIDs; unique only within a collection.")
    series_uids: _ManyOf[_Uid] = Field((), description="SeriesInstanceUIDs of segmentations.")
    segmentation_types: _ManyOf[Literal["BINARY", "FRACTIONAL", "LABELMAP"]] = ()
    query: Annotated[UserQuery | None, BeforeValidator(_query)] = Field(
        None, description="A query folder of one's own that names the series to choose from."
    )
    exclude: Exclude = Exclude()
    sample: Sample | None = None
    output: Output = Field(default_factory=Output)
    source: Source = Source()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key in ("collections", "analysis_results", "licenses", "patients", "series_uids"):
            wanted, unwanted = set(getattr(self, key)), set(getattr(self.exclude, key))
            if wanted and wanted <= unwanted:
                raise ValueError(f"{key}: everything asked for is also excluded: {sorted(wanted)}")
        sides = {item.laterality for item in self.structures if isinstance(item, Code)}
        if self.laterality and sides and None not in sides and sides.isdisjoint(self.laterality):
            raise ValueError(
                f"laterality {list(self.laterality)} contradicts the side of every code in structures"
            )
        if self.source.idc is False and self.idc_version != "latest":
            raise ValueError("idc_version is pinned, but source.idc is false")
        if self.source.idc is False and self.analysis_results:
            raise ValueError("analysis_results exist only in IDC, but source.idc is false")
        if self.output.volumes == "none" and self.output.grid == "source":
            raise ValueError("output.grid is `source`, but output.volumes is `none`")
        return self

    @property
    def segment_filters(self) -> tuple[str, ...]:
        """The keys given that need segment-level tables."""
        keys = ("structures", "categories", "regions", "laterality", "algorithm_types", "algorithm_names")
        given = [key for key in keys if getattr(self, key)]
        if self.segmentation_types and set(self.segmentation_types) != {"LABELMAP"}:
            given.append("segmentation_types")
        return tuple(given)

    @property
    def sha256(self) -> str:
        """Hash of what decides the dataset's content: everything but name, text and places."""
        content = self.model_dump(mode="json", exclude={"name", "description", "source"})
        if self.query is not None:
            content["query"]["folder"] = PurePath(self.query.folder).name
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
