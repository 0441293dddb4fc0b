"""What a cohort is: the fields of a cohort file, and which combinations make sense."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from segtools.select.filters import (
    CohortCode,
    ConceptOrName,
    ImageFilters,
    ManyOf,
    Model,
    Name,
    SegmentFilters,
    SeriesFilters,
)

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


Stratum = Literal[
    "collection_id", "analysis_result_id", "license", "source_modality", "source_doi", "sex", "body_part"
]


class Sample(Model):
    """A reproducible random part: the same seed takes the same patients or series on any engine."""

    patients: int | None = Field(
        None, ge=1, description="This many patients, with all their matching series."
    )
    series: int | None = Field(None, ge=1, description="This many series.")
    seed: int = Field(0, ge=0, description="Another seed takes others.")
    per: Stratum | None = Field(
        None, description="So many of every value of this column, as `collection_id`."
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.patients is None) == (self.series is None):
            raise ValueError("a sample counts either patients or series")
        return self


class Output(Model):
    """What is written for each series."""

    volumes: Literal["labelmap", "masks", "none"] = Field(
        "labelmap", description="One label map, one mask per segment besides, or only the tables."
    )
    grid: Literal["seg", "source"] = Field(
        "seg", description="The segmentation's own grid, or padded to the source images' grid."
    )
    images: Literal["none", "nifti"] = Field(
        "none", description="Fetch the segmented images too, and write each series as one NIfTI."
    )
    labels: dict[Name, Annotated[int, Field(ge=1, le=65535)]] = Field(
        default_factory=dict, description="Cohort-wide label per structure; several structures may share one."
    )


class TableSource(Model):
    """Which tables are asked."""

    index: ManyOf[Name] = Field((), description="Folders made by `idcseg index`, relative to this file.")
    idc: bool | None = Field(default=None, description="IDC itself; default: only where no index is given.")
    slides: bool = Field(
        default=False,
        description="Segmentations of slide microscopy too: they can be fetched, but are no volumes.",
    )


class Exclude(SeriesFilters):
    """Series that are left out even where they match."""

    studies_with: ManyOf[Name] = Field(
        (), description="Studies that have series of any of these modalities, as `SM`."
    )


class StructuresAll(Model):
    """Structures that must all be there, in one series, or in one study or patient."""

    of: ManyOf[ConceptOrName] = Field(description="Names or codes, as in `structures`.")
    within: Literal["series", "study", "patient"] = Field("series", description="Where they must all be.")


def _all_of(value: Any) -> Any:
    return {"of": value} if isinstance(value, list | str) else value


class UserQuery(Model):
    """A query folder of one's own, which names the series (`seg_series_uid`) to choose from."""

    folder: Name = Field(description="Folder with query.sql and query.yaml, relative to this file.")
    parameters: dict[Name, Any] = Field(default_factory=dict, description="Values of its parameters.")


_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def _bytes(value: Any) -> Any:
    """A size with its unit (decimal, as IDC counts) in bytes."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([a-z]*)", value.strip().lower())
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"{value!r} is no size; write it as 50 GB or in bytes")
    return round(float(found[1]) * _UNITS[found[2]])


def _query(value: Any) -> Any:
    return {"folder": value} if isinstance(value, str) else value


class CohortSpec(SeriesFilters, SegmentFilters):
    """A cohort of segmentations.

    Filters of different keys must all hold; values of one key are alternatives.
    """

    name: SkipJsonSchema[str] = Field("cohort", pattern=NAME_PATTERN)
    description: str = Field("", max_length=2000, description="For people; goes to the dataset's README.")
    idc_version: Annotated[int, Field(ge=1, le=999)] | Literal["latest"] = Field(
        "latest", description="IDC release; `latest` is resolved once per run and recorded."
    )
    structures_all: Annotated[StructuresAll | None, BeforeValidator(_all_of)] = Field(
        None, description="Structures that must all be there: a list, or a mapping of `of` and `within`."
    )
    images: ImageFilters = Field(
        default_factory=ImageFilters, description="Filters on the images that were segmented."
    )
    studies_with: ManyOf[Name] = Field(
        (), description="Only studies that also have series of all these modalities, as `[PT, CT]`."
    )
    min_studies: int = Field(
        0, ge=0, description="Only patients with segmentations in this many studies or more."
    )
    max_bytes: Annotated[int | None, BeforeValidator(_bytes)] = Field(
        None,
        ge=1,
        description="At most this many bytes, as `50 GB`: whole series in a fixed random order of patients.",
    )
    query: Annotated[UserQuery | None, BeforeValidator(_query)] = Field(
        None, description="A query folder of one's own that names the series to choose from."
    )
    exclude: Exclude = Exclude()
    sample: Sample | None = None
    split: dict[Name, Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=dict,
        description="Parts and shares, as `{train: 0.8, test: 0.2}`; a patient is in one part.",
    )
    output: Output = Field(default_factory=Output)
    source: TableSource = TableSource()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key in SeriesFilters.model_fields:
            wanted, unwanted = getattr(self, key), getattr(self.exclude, key)
            covered = isinstance(wanted, tuple) and set(wanted) <= set(unwanted or ())
            if wanted and (covered or wanted == unwanted):
                raise ValueError(f"{key}: everything asked for is also excluded: {_shown(wanted)}")
        sides = {item.laterality for item in self.structures if isinstance(item, CohortCode)}
        if self.laterality and sides and None not in sides and sides.isdisjoint(self.laterality):
            raise ValueError(
                f"laterality {list(self.laterality)} contradicts the side of every code in structures"
            )
        if self.split and abs(sum(self.split.values()) - 1) > 1e-6:
            raise ValueError(f"split: the shares add up to {sum(self.split.values()):g}, not 1")
        if self.source.idc is False and self.idc_version != "latest":
            raise ValueError("idc_version is pinned, but source.idc is false")
        if self.source.idc is False and self.analysis_results:
            raise ValueError("analysis_results exist only in IDC, but source.idc is false")
        if self.output.volumes == "none" and self.output.grid == "source":
            raise ValueError("output.grid is `source`, but output.volumes is `none`")
        if self.output.volumes == "none" and self.output.images != "none":
            raise ValueError("output.images is `nifti`, but output.volumes is `none`")
        return self

    @property
    def series_filters(self) -> dict[str, Any]:
        """The values of the keys about series that are given, those of `exclude` as ``exclude_<key>``."""
        given = {key: getattr(self, key) for key in SeriesFilters.model_fields}
        given |= {f"exclude_{key}": getattr(self.exclude, key) for key in SeriesFilters.model_fields}
        return {key: value for key, value in given.items() if value}

    @property
    def image_filters(self) -> dict[str, Any]:
        """The values of the keys about images that are given, as ``image_<key>``."""
        given = {key: getattr(self.images, key) for key in ImageFilters.model_fields}
        return {f"image_{key}": value for key, value in given.items() if value not in (None, ())}

    @property
    def segment_filters(self) -> tuple[str, ...]:
        """The keys given that need segment-level tables."""
        keys = [key for key in SegmentFilters.model_fields if key != "segmentation_types"]
        given = [key for key in keys if getattr(self, key)]
        if self.segmentation_types and set(self.segmentation_types) != {"LABELMAP"}:
            given.append("segmentation_types")
        return tuple(given)

    @property
    def sha256(self) -> str:
        """Hash of what decides the dataset's content: everything given but name, text and places."""
        content = self.model_dump(
            mode="json", exclude={"name", "description", "source"}, exclude_defaults=True
        )
        if self.query is not None:
            content["query"]["folder"] = PurePath(self.query.folder).name
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _shown(wanted: Any) -> str:
    return ", ".join(map(str, wanted[:5])) if isinstance(wanted, tuple) else str(wanted)
