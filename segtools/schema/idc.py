"""IDC's own tables, as IDC names them; own indexes have the same."""

from __future__ import annotations

from segtools.schema.columns import (
    Column,
    Table,
    flag,
    integer,
    real,
    text,
)

IDC_SEGMENTATIONS = Table(
    "segmentations",
    "IDC's `segmentations`: one row per segment (IDC v24; see bigquery-public-data.idc_current).",
    tuple(
        Column(name, kind, f"{name}, as in IDC's table of the same name.", nullable=True)
        for name, kind in (
            ("PatientID", "string"),
            ("StudyInstanceUID", "string"),
            ("SeriesInstanceUID", "string"),
            ("SOPInstanceUID", "string"),
            ("FrameOfReferenceUID", "string"),
            ("SegmentationType", "string"),
            ("AnatomicRegion", "code"),
            ("AnatomicRegionModifier", "code"),
            ("SegmentedPropertyCategory", "code"),
            ("SegmentedPropertyType", "property_type"),
            ("SegmentAlgorithmType", "string"),
            ("SegmentAlgorithmName", "string"),
            ("SegmentNumber", "int64"),
            ("TrackingUID", "string"),
            ("TrackingID", "string"),
            ("segmented_SeriesInstanceUID", "string"),
            ("viewer_url", "string"),
        )
    ),
)

IDC_SERIES = Table(
    "series_index",
    "Series of all modalities, under dicom_all's names (one row per series).",
    tuple(
        Column(name, kind, f"{name}, as in IDC's dicom_all.", unit, nullable=True)
        for name, kind, unit in (
            ("collection_id", "string", ""),
            ("analysis_result_id", "string", ""),
            ("PatientID", "string", ""),
            ("StudyInstanceUID", "string", ""),
            ("SeriesInstanceUID", "string", ""),
            ("crdc_series_uuid", "string", ""),
            ("Modality", "string", ""),
            ("SOPClassUID", "string", ""),
            ("TransferSyntaxUID", "string", ""),
            ("SeriesDescription", "string", ""),
            ("series_aws_url", "string", ""),
            ("series_size_bytes", "int64", "bytes"),
            ("instance_count", "int64", ""),
            ("license_short_name", "string", ""),
            ("source_DOI", "string", ""),
            ("series_init_idc_version", "int64", ""),
            ("PatientSex", "string", ""),
            ("PatientAge", "string", ""),
            ("StudyDate", "string", ""),
            ("BodyPartExamined", "string", ""),
            ("Manufacturer", "string", ""),
            ("ManufacturerModelName", "string", ""),
            ("collection_cancerType", "string", ""),
            ("collection_tumorLocation", "string", ""),
            ("collection_species", "string", ""),
        )
    ),
    key=("SeriesInstanceUID",),
)

IDC_IMAGES = Table(
    "image_attributes",
    "What IDC's indexes of CT, MR and PT say of an image series (one row per series).",
    (
        text("SeriesInstanceUID", "SeriesInstanceUID of the images."),
        real("slice_thickness_mm", "SliceThickness (0018,0050).", "mm", nullable=True),
        real("pixel_spacing_mm", "PixelSpacing (0028,0030), the larger one.", "mm", nullable=True),
        integer("row_count", "Rows (0028,0010).", bits=64, nullable=True),
        integer("column_count", "Columns (0028,0011).", bits=64, nullable=True),
        Column("kernels", "strings", "ConvolutionKernel (0018,1210).", nullable=True),
        real("kvp", "KVP (0018,0060).", "kV", nullable=True),
        real("field_strength_t", "MagneticFieldStrength (0018,0087).", "T", nullable=True),
        text("sequence_name", "SequenceName (0018,0024).", nullable=True),
        text("acquisition_type", "MRAcquisitionType (0018,0023): 2D or 3D.", nullable=True),
        Column("echo_times_ms", "reals", "EchoTime (0018,0081), each value once.", "ms", nullable=True),
        real("repetition_time_ms", "RepetitionTime (0018,0080).", "ms", nullable=True),
        Column("b_values", "reals", "DiffusionBValue (0018,9087), each value once.", "s/mm2", nullable=True),
        text("radiopharmaceutical", "Radiopharmaceutical (0018,0031).", nullable=True),
        Column("contrast_agents", "strings", "ContrastBolusAgent (0018,0010).", nullable=True),
        flag("has_contrast", "ContrastBolusAgent (0018,0010) names one.", nullable=True),
        flag("is_regular", "The slices make up a regularly spaced volume.", nullable=True),
        real("slice_spacing_mm", "Distance of neighbouring slices.", "mm", nullable=True),
        real("obliquity_deg", "Largest angle to the patient's axes.", "degrees", nullable=True),
    ),
    key=("SeriesInstanceUID",),
)

IDC_INSTANCES = Table(
    "instances",
    "SEG instances of an own index, under dicom_all's names.",
    tuple(
        Column(name, kind, f"{name}, as in IDC's dicom_all.", unit, nullable=True)
        for name, kind, unit in (
            ("SeriesInstanceUID", "string", ""),
            ("SOPInstanceUID", "string", ""),
            ("aws_url", "string", ""),
            ("instance_size", "int64", "bytes"),
            ("instance_hash", "string", ""),
        )
    ),
    key=("SOPInstanceUID",),
)
