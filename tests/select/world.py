"""A small IDC: tables with every trait that the queries must cope with, and a second opinion in Python."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from segtools import schema
from segtools.select.engines.bigquery_session import DICOM_ALL, DICOM_IMAGES

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
LABELMAP = "1.2.840.10008.5.1.4.1.1.66.7"
CT = "1.2.840.10008.5.1.4.1.1.2"

CODE = pa.struct(
    [("CodeValue", pa.string()), ("CodingSchemeDesignator", pa.string()), ("CodeMeaning", pa.string())]
)
_TYPE_ITEM = pa.struct([*CODE, ("SegmentedPropertyTypeModifierCodeSequence", pa.list_(CODE))])
_REGION_ITEM = pa.struct([*CODE, ("AnatomicRegionModifierSequence", pa.list_(CODE))])
SEGMENT_ITEM = pa.struct(
    [
        ("SegmentNumber", pa.int64()),
        ("SegmentAlgorithmType", pa.string()),
        ("SegmentAlgorithmName", pa.list_(pa.string())),
        ("SegmentedPropertyCategoryCodeSequence", pa.list_(CODE)),
        ("SegmentedPropertyTypeCodeSequence", pa.list_(_TYPE_ITEM)),
        ("AnatomicRegionSequence", pa.list_(_REGION_ITEM)),
    ]
)
DICOM_ALL_SCHEMA = pa.schema(
    [
        *((name, DICOM_ALL[name].type) for name in DICOM_ALL.names),
        *((name, DICOM_IMAGES[name].type) for name in DICOM_IMAGES.names if name not in DICOM_ALL.names),
        ("ReferencedSeriesSequence", pa.list_(pa.struct([("SeriesInstanceUID", pa.string())]))),
        ("SegmentSequence", pa.list_(SEGMENT_ITEM)),
    ]
)
SERIES_SCHEMA = pa.schema(
    [("idc_version", pa.int64()), *((c.name, c.type) for c in schema.IDC_SERIES.columns)]
)


def code(value: str, scheme: str, meaning: str) -> dict[str, str]:
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}


LEFT, RIGHT = code("7771000", "SCT", "Left"), code("24028007", "SCT", "Right")
OLD_LEFT, BOTH = code("G-A101", "SRT", "Left"), code("51440002", "SCT", "Right and left")
ANATOMY = code("123037004", "SCT", "Anatomical Structure")
OLD_ANATOMY = code("T-D0050", "SRT", "Tissue")
LESION = code("49755003", "SCT", "Morphologically Altered Structure")
LIVER, OLD_LIVER = code("10200004", "SCT", "Liver"), code("T-62000", "SRT", "Liver")
KIDNEY, NODULE = code("64033007", "SCT", "Kidney"), code("27925004", "SCT", "Nodule")
LUNG = code("39607008", "SCT", "Lung")


def segment(series: str, number: int | None, kind: dict[str, str] | None, **more: Any) -> dict[str, Any]:
    """A row of IDC's `segmentations`; `sides` are type modifiers, `region_side` the region's."""
    row: dict[str, Any] = {
        "SeriesInstanceUID": series,
        "SOPInstanceUID": f"{series}.1",
        "SegmentNumber": number,
        "SegmentationType": more.get("seg_type", "BINARY"),
        "SegmentedPropertyCategory": more.get("category", ANATOMY),
        "SegmentAlgorithmType": more.get("algorithm", "AUTOMATIC"),
        "SegmentAlgorithmName": more.get("algorithm_name", "TotalSegmentator"),
        "segmented_SeriesInstanceUID": more.get("source"),
        "AnatomicRegion": more.get("region"),
        "AnatomicRegionModifier": more.get("region_side"),
    }
    if kind is not None:
        row["SegmentedPropertyType"] = {
            **kind,
            "AnatomicRegionModifierSequence": more.get("type_region_sides", []),
            "SegmentedPropertyTypeModifierCodeSequence": more.get("sides", []),
        }
    return row


def instance(series: str, number: int = 1, **more: Any) -> dict[str, Any]:
    """A row of IDC's dicom_all."""
    row = {
        "collection_id": "nlst",
        "PatientID": "P1",
        "StudyInstanceUID": "2.1",
        "SeriesInstanceUID": series,
        "crdc_series_uuid": f"uuid-{series}",
        "Modality": "SEG",
        "SOPClassUID": SEG,
        "TransferSyntaxUID": "1.2.840.10008.1.2.1",
        "series_aws_url": f"s3://idc-open-data/uuid-{series}/",
        "license_short_name": "CC BY 4.0",
        "source_DOI": "10.1/a",
        "SOPInstanceUID": f"{series}.{number}",
        "aws_url": f"s3://idc-open-data/uuid-{series}/{number}.dcm",
        "instance_size": 100,
        "instance_hash": f"{number:032x}",
    }
    return row | more


def labelmap_segments() -> list[dict[str, Any]]:
    return [
        {
            "SegmentNumber": 1,
            "SegmentAlgorithmType": "AUTOMATIC",
            "SegmentAlgorithmName": ["RCC-AI", "second"],
            "SegmentedPropertyCategoryCodeSequence": [ANATOMY],
            "SegmentedPropertyTypeCodeSequence": [
                {**KIDNEY, "SegmentedPropertyTypeModifierCodeSequence": [RIGHT]}
            ],
            "AnatomicRegionSequence": [],
        }
    ]


def dicom_all() -> pa.Table:
    rows = [
        instance("1.1", analysis_result_id="totalseg", source_DOI="10.1/ts"),
        instance("1.2", PatientID="P2", StudyInstanceUID="2.2", analysis_result_id="totalseg"),
        instance("1.3", collection_id="lidc", PatientID="P1", StudyInstanceUID="2.3", license_short_name="CC BY 3.0"),
        instance("1.4", collection_id="lidc", PatientID="P3", StudyInstanceUID="2.4", license_short_name="CC BY-NC 3.0",
                 analysis_result_id="bamf"),
        instance("1.5", collection_id="kirc", PatientID="P5", StudyInstanceUID="2.5", SOPClassUID=LABELMAP,
                 SegmentSequence=labelmap_segments(), ReferencedSeriesSequence=[{"SeriesInstanceUID": "9.5"}]),
        # The trap: says SEG, holds CT images.
        instance("1.6", collection_id="fused", PatientID="P6", SOPClassUID=CT),
        # Two instances of one series.
        instance("1.7", 1, collection_id="til", PatientID="P7", StudyInstanceUID="2.7"),
        instance("1.7", 2, collection_id="til", PatientID="P7", StudyInstanceUID="2.7", instance_size=50),
        instance("9.1", 1, Modality="CT", SOPClassUID=CT, instance_size=7, SliceThickness="2.5", KVP="120",
                 PixelSpacing=["0.7", "0.8"], ConvolutionKernel=["B30f", "x"], Manufacturer="SIEMENS"),
        instance("9.1", 2, Modality="CT", SOPClassUID=CT, instance_size=7, SliceThickness="2.5", KVP="120",
                 PixelSpacing=["0.7", "0.8"], ConvolutionKernel=["B30f", "x"], Manufacturer="SIEMENS"),
        instance("9.5", collection_id="kirc", PatientID="P5", StudyInstanceUID="2.5", Modality="MR", SOPClassUID="x",
                 SliceThickness="5", MagneticFieldStrength="3", DiffusionBValue="0", ContrastBolusAgent="Gd",
                 SeriesDescription="T2 ax"),
        instance("9.5", 2, collection_id="kirc", PatientID="P5", StudyInstanceUID="2.5", Modality="MR", SOPClassUID="x",
                 SliceThickness="5", MagneticFieldStrength="3", DiffusionBValue="800", ContrastBolusAgent="Gd",
                 SeriesDescription="T2 ax"),
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=DICOM_ALL_SCHEMA)


def segmentations() -> pa.Table:
    rows = [
        segment("1.1", 1, LIVER, source="9.1"),
        segment("1.1", 2, KIDNEY, sides=[LEFT], source="9.1"),
        segment("1.1", 3, KIDNEY, sides=[RIGHT], source="9.1"),
        # The same row twice, as IDC's join can give it.
        segment("1.1", 3, KIDNEY, sides=[RIGHT], source="9.1"),
        segment("1.2", 1, OLD_LIVER, category=OLD_ANATOMY, algorithm="MANUAL", algorithm_name="reader's"),
        segment("1.2", 2, KIDNEY, sides=[code("1", "99X", "cortex"), OLD_LEFT]),
        segment("1.3", 1, NODULE, category=LESION, region=LUNG, region_side=RIGHT, algorithm="MANUAL",
                algorithm_name=None),
        segment("1.4", 1, NODULE, category=LESION, region=LUNG, region_side=BOTH, seg_type="FRACTIONAL"),
        segment("1.7", 1, None, category=None),
        segment("1.7", None, code("x", "99X", "til"), category=None, algorithm=None),
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema.IDC_SEGMENTATIONS.arrow)
