"""What a cohort can filter on: each key of a cohort file is declared here, and only here.

A key is a field of one of the models below. Its annotation says which values it takes, its `Filter` which
column they are compared with; the keys of `exclude`, the SQL conditions (`segtools.select.sql.conditions`),
what is checked against the tables, the JSON Schema and the pages of `docs/` follow from that.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from segtools.terminology.laterality import Laterality

_SCHEME = r"[A-Za-z0-9_]{1,16}"
_VALUE = r"[A-Za-z0-9._^-]{1,64}"
_SHORT_CODE = re.compile(rf"^({_SCHEME}):({_VALUE})(?:/(left|right|bilateral))?$")

_T = TypeVar("_T")


class Model(BaseModel):
    """Strict, frozen, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class CohortCode(Model):
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


def code_of(text: str) -> CohortCode | None:
    """The code that a text as ``SCT:64033007/left`` is; None for any other."""
    found = _SHORT_CODE.match(text)
    if found is None:
        return None
    return CohortCode.model_validate({"scheme": found[1], "value": found[2], "laterality": found[3]})


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


Name = Annotated[str, BeforeValidator(_text), Field(min_length=1, max_length=256)]
Uid = Annotated[str, BeforeValidator(_text), Field(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)]
ConceptOrName = Annotated[CohortCode | Name, BeforeValidator(_concept)]


if TYPE_CHECKING:
    ManyOf = tuple[_T, ...]
else:

    class ManyOf:
        """`ManyOf[X]`: none, one or several X, kept as a tuple."""

        def __class_getitem__(cls, item: Any) -> Any:
            return Annotated[tuple[item, ...], BeforeValidator(_several)]


def _kind_of_license(value: Any) -> Any:
    """``{commercial: true}`` as the name of that kind of licence."""
    if isinstance(value, dict) and value.keys() == {"commercial"} and isinstance(value["commercial"], bool):
        return COMMERCIAL if value["commercial"] else NONCOMMERCIAL
    return value


def _day(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return datetime.date.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a day; write it as 2010-12-31") from None
    return value


_Day = Annotated[datetime.date, BeforeValidator(_day)]


class Range(Model):
    """Numbers from `min` to `max`, both included; either may be left out."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_order(self.min, self.max)
        return self


class Dates(Model):
    """Days from `min` to `max`, both included; either may be left out."""

    min: _Day | None = None
    max: _Day | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_order(self.min, self.max)
        return self


def _check_order(smallest: Any, largest: Any) -> None:
    if smallest is None and largest is None:
        raise ValueError("give min, max or both")
    if smallest is not None and largest is not None and smallest > largest:
        raise ValueError(f"min {smallest} is larger than max {largest}")


COMMERCIAL, NONCOMMERCIAL = "commercial", "non-commercial"
"""Values of `licenses` that stand for all licences of a kind."""

Comparison = Literal[
    "is_one_of", "reads_like", "between", "dates", "is", "after", "any_reads_like", "any_between"
]
"""How a column is compared: equal to one of the values; to one of them or a pattern, upper and lower case
alike; a number or a day in a range; equal to the one value; larger than the one value; the same of any item
of a list."""


@dataclass(frozen=True)
class Filter:
    """How a key chooses rows.

    Attributes
    ----------
    column : str
        Of the rows that the group of keys looks at.
    comparison : str
    terms : str
        What the values are, where they are names of things that exist: an unknown one is refused with near
        matches, and a pattern stands for those that match. Empty for other values.
    needs : str
        Column of IDC's `segmentations` without which the key cannot be answered.
    """

    column: str
    comparison: Comparison = "is_one_of"
    terms: str = ""
    needs: str = ""
    is_listed: bool = False
    """The column holds several values in one text, with commas between them."""


class SeriesFilters(Model):
    """Keys about the segmentation series, its study and person; `exclude` has them too."""

    collections: Annotated[ManyOf[Name], Filter("collection_id", terms="collection")] = Field(
        (), description="Collections, as `nlst` or `tcga_*`."
    )
    analysis_results: Annotated[ManyOf[Name], Filter("analysis_result_id", terms="analysis result")] = Field(
        (), description="Analysis results, as `bamf_aimi_annotations`."
    )
    licenses: Annotated[
        ManyOf[Name], BeforeValidator(_kind_of_license), Filter("license_short_name", terms="licence")
    ] = Field(
        (), description="Short names (`CC BY 4.0`), families (`CC BY`), `commercial` or `non-commercial`."
    )
    dois: Annotated[ManyOf[Name], Filter("source_DOI", terms="DOI")] = Field(
        (), description="DOIs of the collections or analysis results, as `10.5281/zenodo.8347011`."
    )
    patients: Annotated[ManyOf[Name], Filter("PatientID")] = Field(
        (), description="PatientIDs; unique only within a collection."
    )
    studies: Annotated[ManyOf[Uid], Filter("StudyInstanceUID")] = Field((), description="StudyInstanceUIDs.")
    series_uids: Annotated[ManyOf[Uid], Filter("SeriesInstanceUID")] = Field(
        (), description="SeriesInstanceUIDs of segmentations."
    )
    crdc_series_uuids: Annotated[ManyOf[Name], Filter("crdc_series_uuid")] = Field(
        (), description="Content ids of series, as in the paths of IDC's buckets."
    )
    series_descriptions: Annotated[ManyOf[Name], Filter("SeriesDescription", "reads_like")] = Field(
        (), description="SeriesDescription of the segmentation; `*` stands for anything."
    )
    models: Annotated[ManyOf[Name], Filter("ManufacturerModelName", "reads_like")] = Field(
        (), description="ManufacturerModelName of the segmentation: often the program that wrote it."
    )
    body_parts: Annotated[ManyOf[Name], Filter("BodyPartExamined", "reads_like")] = Field(
        (), description="BodyPartExamined of the segmentation, as `CHEST`."
    )
    cancer_types: Annotated[
        ManyOf[Name], Filter("collection_cancerType", terms="cancer type", is_listed=True)
    ] = Field((), description="Cancer types of the collection, as `Lung Cancer` or `*lung*`.")
    tumor_locations: Annotated[
        ManyOf[Name], Filter("collection_tumorLocation", terms="tumour location", is_listed=True)
    ] = Field((), description="Tumour locations of the collection, as `Lung`.")
    species: Annotated[ManyOf[Name], Filter("collection_species", terms="species", is_listed=True)] = Field(
        (), description="Species of the collection, as `Human`."
    )
    sex: Annotated[ManyOf[Literal["F", "M", "O"]], Filter("PatientSex")] = Field(
        (), description="PatientSex, as the segmentation's own header states it."
    )
    age_years: Annotated[Range | None, Filter("age_years", "between")] = Field(
        None, description="PatientAge in years, as the segmentation's own header states it."
    )
    added_since: Annotated[int | None, Filter("series_init_idc_version", "after")] = Field(
        None, ge=1, le=999, description="Only series that came with an IDC release after this one."
    )
    study_dates: Annotated[Dates | None, Filter("study_date", "dates")] = Field(
        None, description="StudyDate; IDC's dates are often shifted to protect the person."
    )


class SegmentFilters(Model):
    """Keys about single segments: a series is chosen for a segment that all of them let through."""

    structures: Annotated[ManyOf[ConceptOrName], Filter("type", needs="SegmentedPropertyType")] = Field(
        (),
        description="Segmented property types: names (`liver`, `kidney_left`, `nodule_lung`, `prostate*`)"
        " or codes (`SCT:10200004`).",
    )
    categories: Annotated[ManyOf[ConceptOrName], Filter("category", needs="SegmentedPropertyCategory")] = (
        Field((), description="Segmented property categories.")
    )
    regions: Annotated[ManyOf[ConceptOrName], Filter("region", needs="AnatomicRegion")] = Field(
        (), description="Anatomic regions."
    )
    laterality: Annotated[ManyOf[Laterality], Filter("laterality")] = Field(
        (), description="Sides, from a type or region modifier."
    )
    algorithm_types: Annotated[
        ManyOf[Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"]],
        Filter("algorithm_type", needs="SegmentAlgorithmType"),
    ] = Field((), description="SegmentAlgorithmType.")
    algorithm_names: Annotated[
        ManyOf[Name], Filter("algorithm_name", "reads_like", needs="SegmentAlgorithmName")
    ] = Field((), description="SegmentAlgorithmName; `*` stands for anything.")
    segmentation_types: Annotated[
        ManyOf[Literal["BINARY", "FRACTIONAL", "LABELMAP"]],
        Filter("segmentation_type", needs="SegmentationType"),
    ] = Field((), description="SegmentationType.")


class ImageFilters(Model):
    """Keys about the segmented images: a series is chosen for images that all of them let through."""

    modality: Annotated[ManyOf[Name], Filter("modality")] = Field((), description="Modality, as `CT`.")
    series_description: Annotated[ManyOf[Name], Filter("series_description", "reads_like")] = Field(
        (), description="SeriesDescription of the images; `*` stands for anything."
    )
    manufacturer: Annotated[ManyOf[Name], Filter("manufacturer", "reads_like")] = Field(
        (), description="Manufacturer of the scanner, as `siemens*`."
    )
    model: Annotated[ManyOf[Name], Filter("model", "reads_like")] = Field(
        (), description="ManufacturerModelName of the scanner."
    )
    body_part: Annotated[ManyOf[Name], Filter("body_part", "reads_like")] = Field(
        (), description="BodyPartExamined of the images."
    )
    slice_thickness_mm: Annotated[Range | None, Filter("slice_thickness_mm", "between")] = Field(
        None, description="SliceThickness."
    )
    slice_spacing_mm: Annotated[Range | None, Filter("slice_spacing_mm", "between")] = Field(
        None, description="Distance of neighbouring slices."
    )
    pixel_spacing_mm: Annotated[Range | None, Filter("pixel_spacing_mm", "between")] = Field(
        None, description="PixelSpacing, the larger one."
    )
    instance_count: Annotated[Range | None, Filter("instance_count", "between")] = Field(
        None, description="Instances of the image series: slices, in most."
    )
    regular_volume: Annotated[bool | None, Filter("is_regular", "is")] = Field(
        None, description="Whether the slices make up a regularly spaced volume."
    )
    kernel: Annotated[ManyOf[Name], Filter("kernels", "any_reads_like")] = Field(
        (), description="ConvolutionKernel of a CT, as `B30f` or `b3*`."
    )
    kvp: Annotated[Range | None, Filter("kvp", "between")] = Field(None, description="KVP of a CT, kV.")
    contrast: Annotated[bool | None, Filter("has_contrast", "is")] = Field(
        None, description="Whether ContrastBolusAgent names an agent."
    )
    contrast_agent: Annotated[ManyOf[Name], Filter("contrast_agents", "any_reads_like")] = Field(
        (), description="ContrastBolusAgent; `*` stands for anything."
    )
    field_strength_t: Annotated[Range | None, Filter("field_strength_t", "between")] = Field(
        None, description="MagneticFieldStrength of an MR, T."
    )
    sequence_name: Annotated[ManyOf[Name], Filter("sequence_name", "reads_like")] = Field(
        (), description="SequenceName of an MR."
    )
    acquisition_type: Annotated[ManyOf[Literal["2D", "3D"]], Filter("acquisition_type")] = Field(
        (), description="MRAcquisitionType."
    )
    echo_time_ms: Annotated[Range | None, Filter("echo_times_ms", "any_between")] = Field(
        None, description="EchoTime of an MR; one of them in the range is enough."
    )
    repetition_time_ms: Annotated[Range | None, Filter("repetition_time_ms", "between")] = Field(
        None, description="RepetitionTime of an MR."
    )
    b_value: Annotated[Range | None, Filter("b_values", "any_between")] = Field(
        None, description="DiffusionBValue of an MR, s/mm2; one of them in the range is enough."
    )
    radiopharmaceutical: Annotated[ManyOf[Name], Filter("radiopharmaceutical", "reads_like")] = Field(
        (), description="Radiopharmaceutical of a PET."
    )


GROUPS: dict[str, type[Model]] = {"series": SeriesFilters, "segments": SegmentFilters, "images": ImageFilters}
"""Models by the name under which a query asks for their conditions."""

OF_SERIES_INDEX = frozenset(
    {"modality", "series_description", "manufacturer", "model", "body_part", "instance_count"}
)
"""Keys about images that the index of all series answers; the others need the indexes of CT, MR and PT."""

CONCEPTS = ("structures", "categories", "regions")
"""Keys whose values are codes or names: `queries/matches` compares them itself."""


@cache
def filters(group: str) -> dict[str, Filter]:
    """Key → its filter, of one of the `GROUPS`."""
    fields = GROUPS[group].model_fields.items()
    return {name: next(part for part in field.metadata if isinstance(part, Filter)) for name, field in fields}
