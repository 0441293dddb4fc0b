"""Croissant metadata (MLCommons) of a dataset's tables, made from their declaration.

http://mlcommons.org/croissant/1.0
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from segtools.dataset.pages import entries
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
    "containedIn": "cr:containedIn",
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
    for name in dataset.manifest["tables"]:
        for entry, path in zip(entries(dataset.manifest, name), dataset.table_paths(name), strict=True):
            target = folder / entry["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
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
        "distribution": [item for table in tables for item in _distribution(manifest, table)],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": table.name,
                "name": table.name,
                "description": table.description,
                "field": [
                    _field(_source(manifest, table.name), table.name, column) for column in table.columns
                ],
            }
            for table in tables.values()
        ],
    }


def _distribution(manifest: Mapping[str, Any], table: str) -> list[dict[str, Any]]:
    """The pages of a table; several are a set under the name that a single one has."""
    pages = entries(manifest, table)
    names = [f"{table}.parquet"] if len(pages) == 1 else [entry["path"] for entry in pages]
    found: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": entry["path"],
            "contentSize": f"{entry['bytes']} B",
            "encodingFormat": "application/x-parquet",
            "sha256": entry["sha256"],
        }
        for name, entry in zip(names, pages, strict=True)
    ]
    if len(pages) > 1:
        found.append(
            {
                "@type": "cr:FileSet",
                "@id": f"{table}.parquet",
                "name": f"{table}.parquet",
                "containedIn": [{"@id": name} for name in names],
                "encodingFormat": "application/x-parquet",
                "includes": f"tables/{table}/*.parquet",
            }
        )
    return found


def _source(manifest: Mapping[str, Any], table: str) -> dict[str, Any]:
    kind = "fileObject" if len(entries(manifest, table)) == 1 else "fileSet"
    return {kind: {"@id": f"{table}.parquet"}}


def _field(source: dict[str, Any], table: str, column: Column) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{table}/{column.name}",
        "name": f"{table}/{column.name}",
        "description": column.description,
        "dataType": _TYPES.get(column.kind, "sc:Integer"),
        "source": source | {"extract": {"column": column.name}},
    }
    if column.kind == "affine":
        field |= {"dataType": "sc:Float", "repeated": True}
    return field
