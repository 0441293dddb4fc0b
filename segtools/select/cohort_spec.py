"""What a cohort is: the fields of a cohort file, and which combinations make sense."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from segtools.select.filters import Code, ManyOf, Model, Name, SegmentFilters, SeriesFilters

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class Sample(Model):
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


class Source(Model):
    """Which tables are asked."""

    index: ManyOf[Name] = Field((), description="Folders made by `idcseg index`, relative to this file.")
    idc: bool | None = Field(default=None, description="IDC itself; default: only where no index is given.")
    slides: bool = Field(
        default=False,
        description="Segmentations of slide microscopy too: they can be fetched, but are no volumes.",
    )


class Exclude(SeriesFilters):
    """Series that are left out even where they match."""


class UserQuery(Model):
    """A query folder of one's own, which names the series (`seg_series_uid`) to choose from."""

    folder: Name = Field(description="Folder with query.sql and query.yaml, relative to this file.")
    parameters: dict[Name, Any] = Field(default_factory=dict, description="Values of its parameters.")


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
    query: Annotated[UserQuery | None, BeforeValidator(_query)] = Field(
        None, description="A query folder of one's own that names the series to choose from."
    )
    exclude: Exclude = Exclude()
    sample: Sample | None = None
    output: Output = Field(default_factory=Output)
    source: Source = Source()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key in SeriesFilters.model_fields:
            wanted, unwanted = getattr(self, key), getattr(self.exclude, key)
            covered = isinstance(wanted, tuple) and set(wanted) <= set(unwanted or ())
            if wanted and (covered or wanted == unwanted):
                raise ValueError(f"{key}: everything asked for is also excluded: {_shown(wanted)}")
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
