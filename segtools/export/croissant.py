"""Croissant metadata (MLCommons) of a dataset's tables, made from their declaration.

http://mlcommons.org/croissant/1.0
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from segtools.files import dump_json, write_bytes
from segtools.schema import DATASET_TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from segtools.dataset.reader import Dataset
    from segtools.schema import Column

_TYPES = {"string": "sc:Text", "bool": "sc:Boolean", "float32": "sc:Float", "float64": "sc:Float"}
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def write_croissant(dataset: Dataset, folder: Path) -> None:
    """Write ``croissant.json`` and, beside it, the tables it describes."""
    licenses = dataset.sql("SELECT DISTINCT license FROM series WHERE license IS NOT NULL ORDER BY 1")
    for name, entry in dataset.manifest["tables"].items():
        place = folder / entry["path"]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dataset.table_path(name), place)
    content = croissant(dataset.root.name, dataset.manifest, licenses["license"].to_pylist())
    write_bytes(folder / "croissant.json", dump_json(content))


def croissant(name: str, manifest: Mapping[str, Any], licenses: list[str]) -> dict[str, Any]:
    """Metadata of a dataset folder.

    Parameters
    ----------
    name : str
    manifest : mapping
        ``dataset.json``.
    licenses : list of str
        Short names of the licences of its series.
    """
    tables = {table.name: table for table in DATASET_TABLES if table.name in manifest["tables"]}
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": "Segments of DICOM SEG series with measures, and their series and findings.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": licenses,
        "url": ".",
        "version": "1.0.0",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": f"{table}.parquet",
                "name": f"{table}.parquet",
                "contentUrl": entry["path"],
                "contentSize": f"{entry['bytes']} B",
                "encodingFormat": "application/x-parquet",
                "sha256": entry["sha256"],
            }
            for table, entry in manifest["tables"].items()
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": table.name,
                "name": table.name,
                "description": table.description,
                "field": [_field(table.name, column) for column in table.columns],
            }
            for table in tables.values()
        ],
    }


def _field(table: str, column: Column) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{table}/{column.name}",
        "name": f"{table}/{column.name}",
        "description": column.description,
        "dataType": _TYPES.get(column.kind, "sc:Integer"),
        "source": {"fileObject": {"@id": f"{table}.parquet"}, "extract": {"column": column.name}},
    }
    if column.kind == "affine":
        field |= {"dataType": "sc:Float", "repeated": True}
    return field
