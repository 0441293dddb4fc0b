"""One selected series, on its way through the stages."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from segtools.errors import SegtoolsError


Verified = Literal["md5", "dicom", "size"]
WEAKEST_FIRST: tuple[Verified, ...] = ("size", "dicom", "md5")


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """An object to fetch and what is known of it; a row of `segtools.schema.OBJECTS`."""

    url: str
    size_bytes: int | None = None
    md5: str | None = None
    sop_uid: str | None = None


@dataclass(frozen=True, slots=True)
class SelectedSeries:
    """A row of `segtools.schema.SELECTION`, with its objects where a table knows them."""

    collection_id: str
    patient_id: str
    study_uid: str
    seg_series_uid: str
    crdc_series_uuid: str
    series_url: str
    size_bytes: int
    instance_count: int
    idc_version: int | None = None
    analysis_result_id: str | None = None
    sop_class_uid: str | None = None
    transfer_syntax_uid: str | None = None
    source_series_uid: str | None = None
    source_modality: str | None = None
    license: str | None = None
    source_doi: str | None = None
    split: str | None = None
    objects: tuple[RemoteObject, ...] = field(default=(), compare=False)
    images: tuple[SelectedSeries, ...] = field(default=(), compare=False)
    """The image series it was drawn on, where they are to be fetched too; `seg_series_uid` is theirs."""

    def row(self) -> dict[str, Any]:
        """The row of `segtools.schema.SELECTION`."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("objects", "images")}


def iter_selection(
    selection: pa.Table, objects: pa.Table | None = None, images: pa.Table | None = None
) -> Iterator[SelectedSeries]:
    """The series of a selection, in the table's order.

    Parameters
    ----------
    selection : pyarrow.Table
        With the schema `segtools.schema.SELECTION`.
    objects : pyarrow.Table, optional
        With the schema `segtools.schema.OBJECTS`.
    images : pyarrow.Table, optional
        With the schema `segtools.schema.SELECTION`: image series to fetch with those drawn on them.
    """
    known: dict[str, list[RemoteObject]] = {}
    if objects is not None:
        for row in objects.to_pylist():
            uid = row.pop("seg_series_uid")
            known.setdefault(uid, []).append(RemoteObject(**row))
    pictures = {row["seg_series_uid"]: SelectedSeries(**row) for row in images.to_pylist()} if images else {}
    for batch in selection.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            source = pictures.get(row["source_series_uid"] or "")
            yield SelectedSeries(
                **row,
                objects=tuple(known.get(row["seg_series_uid"], ())),
                images=(source,) if source else (),
            )


@dataclass(frozen=True, slots=True)
class FetchedSeries:
    """What `fetch` gives to `decode`: checked files, or the error.

    Attributes
    ----------
    series : SelectedSeries
    files : tuple of Path
        Checked DICOM files, sorted by name; empty where `error` is set.
    md5s : tuple of str or None
        MD5 of each file, hexadecimal, computed from the bytes that arrived.
    attempts : int
        Transfers it took.
    verified : {"md5", "dicom", "size"} or None
        The weakest check that a file of it passed: its MD5 is the table's or the ETag's; it is DICOM to
        its end, of the UIDs that the table names; its size alone. None where nothing was fetched.
    error : SegtoolsError or None
    """

    series: SelectedSeries
    files: tuple[Path, ...] = ()
    md5s: tuple[str | None, ...] = ()
    attempts: int = 1
    error: SegtoolsError | None = None
    verified: Verified | None = None
