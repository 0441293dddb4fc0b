"""The tables of a selection and of a dataset."""

from __future__ import annotations

from segtools.schema.columns import (
    Column,
    Table,
    concept,
    flag,
    integer,
    real,
    text,
)

FORMAT_VERSION = 2
"""Version of the dataset folder's format, in `dataset.json`."""

SERIES_KEYS = (
    integer("idc_version", "IDC release; null for an own archive.", bits=16, nullable=True, minimum=1),
    text("collection_id", "Collection; PatientID is unique only within one."),
    text("analysis_result_id", "Analysis result the series belongs to, if any.", nullable=True),
    text("patient_id", "PatientID (0010,0020)."),
    text("study_uid", "StudyInstanceUID (0020,000D)."),
    text("seg_series_uid", "SeriesInstanceUID (0020,000E) of the segmentation."),
)

SELECTION_COLUMNS = (
    *SERIES_KEYS,
    text("crdc_series_uuid", "Content id of this version of the series; changes whenever its bytes do."),
    text("series_url", "URL of the folder of the series, in a bucket or here; or of its one object."),
    integer("size_bytes", "Bytes of the series as the table states them.", bits=64, unit="bytes", minimum=0),
    integer("instance_count", "SOP instances of the series as the table states them.", minimum=0),
    text("sop_class_uid", "SOPClassUID (0008,0016), where the table has it.", nullable=True),
    text("transfer_syntax_uid", "TransferSyntaxUID (0002,0010), where the table has it.", nullable=True),
    text("source_series_uid", "SeriesInstanceUID of the segmented images.", nullable=True),
    text("source_modality", "Modality of the segmented images.", nullable=True),
    text("license", "Short name of the licence.", nullable=True),
    text("source_doi", "DOI to cite.", nullable=True),
    text("split", "Part of the cohort's split by patient, as `train`; null without one.", nullable=True),
)

SELECTION = Table(
    "selection",
    "What `select` gives to `fetch`: one row per series.",
    SELECTION_COLUMNS,
    key=("seg_series_uid",),
    order=("collection_id", "patient_id", "study_uid", "seg_series_uid"),
)

OBJECTS = Table(
    "objects",
    "Objects of the selected series, where a table knows them: what `fetch` checks against.",
    (
        text("seg_series_uid", "SeriesInstanceUID."),
        text("url", "URL of the object, in a bucket or here."),
        integer("size_bytes", "Bytes.", bits=64, unit="bytes", minimum=0),
        text("md5", "MD5 of the bytes, hexadecimal.", nullable=True),
        text("sop_uid", "SOPInstanceUID.", nullable=True),
    ),
    key=("url",),
    order=("seg_series_uid", "url"),
)

SEGMENT_STATUS = ("ok", "warned", "failed")
SERIES_STATUS = ("ok", "warned", "failed", "retired")

SEGMENTS = Table(
    "segments",
    "One row per segment of every series of the dataset.",
    (
        text("segment_id", "Key: <seg_series_uid>/<seg_sop_uid>/<segment_number>."),
        *SERIES_KEYS,
        text("seg_sop_uid", "SOPInstanceUID (0008,0018) of the segmentation."),
        integer("segment_number", "SegmentNumber (0062,0004); the voxel value in the volume.", minimum=0),
        # source
        text("source_series_uid", "SeriesInstanceUID of the segmented images.", nullable=True),
        text("source_modality", "Modality of the segmented images.", nullable=True),
        text("frame_of_reference_uid", "FrameOfReferenceUID (0020,0052).", nullable=True),
        text("tracking_id", "TrackingID (0062,0020).", nullable=True),
        text("tracking_uid", "TrackingUID (0062,0021).", nullable=True),
        # meaning
        text("label", "SegmentLabel (0062,0005) as written.", nullable=True),
        text("description", "SegmentDescription (0062,0006).", nullable=True),
        text("structure", "Name for filters: the type's (or region's) meaning and side, `kidney_left`."),
        text(
            "laterality",
            "Side, from a type modifier or a region modifier.",
            nullable=True,
            values=("left", "right", "bilateral"),
        ),
        *concept("category", "Segmented property category"),
        *concept("type", "Segmented property type"),
        text("type_modifier_code", "Segmented property type modifier: first Code Value.", nullable=True),
        *concept("region", "Anatomic region"),
        text("region_modifier_code", "Anatomic region modifier: first Code Value.", nullable=True),
        text(
            "algorithm_type",
            "SegmentAlgorithmType (0062,0008).",
            nullable=True,
            values=("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"),
        ),
        text("algorithm_name", "SegmentAlgorithmName (0062,0009).", nullable=True),
        text("color_hex", "sRGB colour #RRGGBB, from RecommendedDisplayCIELabValue or a stable palette."),
        # storage
        text(
            "segmentation_type",
            "SegmentationType (0062,0001).",
            nullable=True,
            values=("BINARY", "FRACTIONAL", "LABELMAP"),
        ),
        integer("layer", "Layer of the volume that holds the segment.", nullable=True, minimum=0),
        integer("label_index", "Label of the structure, the same in the whole dataset.", nullable=True),
        text("volume_path", "NIfTI label map with the segment, relative to the dataset.", nullable=True),
        text("mask_path", "NIfTI mask of this segment alone, if asked for.", nullable=True),
        text("fraction_path", "NIfTI of a FRACTIONAL segment.", nullable=True),
        integer("max_fractional_value", "MaximumFractionalValue (0062,000E): it means 1.", nullable=True),
        # grid
        integer("size_i", "Columns of the grid.", unit="voxels", nullable=True, minimum=1),
        integer("size_j", "Rows of the grid.", unit="voxels", nullable=True, minimum=1),
        integer("size_k", "Slices of the grid.", unit="voxels", nullable=True, minimum=1),
        real(
            "spacing_i_mm",
            "Distance of neighbouring columns; null where the file does not say.",
            "mm",
            nullable=True,
            minimum=0,
        ),
        real(
            "spacing_j_mm",
            "Distance of neighbouring rows; null where the file does not say.",
            "mm",
            nullable=True,
            minimum=0,
        ),
        real(
            "spacing_k_mm",
            "Distance of neighbouring slices; null where the file does not say.",
            "mm",
            nullable=True,
            minimum=0,
        ),
        Column(
            "affine_ras_mm",
            "affine",
            "Affine (i, j, k, 1) to RAS+, 4x4 row-major; null where the file does not say all of it.",
            "mm",
            nullable=True,
        ),
        flag("is_regular", "Slices are equidistant and parallel.", nullable=True),
        # measures
        integer("voxel_count", "Voxels of the segment.", bits=64, unit="voxels", nullable=True, minimum=0),
        real("volume_ml", "Voxels (or sum of fractions) times voxel volume.", "ml", nullable=True, minimum=0),
        *(
            integer(
                f"bbox_{end}_{axis}",
                f"{'Smallest' if end == 'min' else 'Largest'} {axis} of the segment, inclusive.",
                unit="voxels",
                nullable=True,
                minimum=0,
            )
            for axis in "ijk"
            for end in ("min", "max")
        ),
        real("centroid_r_mm", "Mean position, towards the patient's right.", "mm", nullable=True),
        real("centroid_a_mm", "Mean position, towards anterior.", "mm", nullable=True),
        real("centroid_s_mm", "Mean position, towards superior.", "mm", nullable=True),
        integer("slice_count", "Slices the segment has voxels on.", unit="voxels", nullable=True, minimum=0),
        integer("component_count", "26-connected components.", nullable=True, minimum=0),
        Column(
            "largest_component_fraction",
            "float32",
            "Share of voxels in the largest component, 0 to 1.",
            nullable=True,
            minimum=0,
        ),
        flag("touches_border", "The segment has voxels on the outermost ones of the grid.", nullable=True),
        integer(
            "overlap_voxel_count",
            "Voxels shared with other segments.",
            bits=64,
            unit="voxels",
            nullable=True,
            minimum=0,
        ),
        # trust
        text("status", "ok, warned (findings of severity warning or more) or failed.", values=SEGMENT_STATUS),
        text("error_code", "Why the series failed.", nullable=True),
        integer("finding_count", "Findings about the segment or its instance.", minimum=0),
        integer("source_bytes", "Bytes of the DICOM file.", bits=64, unit="bytes", nullable=True, minimum=0),
        text("source_md5", "MD5 of the DICOM file; null where fetch.verify_md5 is off.", nullable=True),
        text("license", "Short name of the licence.", nullable=True),
        text("source_doi", "DOI to cite.", nullable=True),
        text("decoder", "Decoder name/version."),
    ),
    key=("segment_id",),
    order=("collection_id", "patient_id", "seg_series_uid", "seg_sop_uid", "segment_number"),
)

SERIES = Table(
    "series",
    "One row per series of the dataset, failed and retired ones too.",
    (
        *SELECTION_COLUMNS,
        text("status", "ok, warned, failed, or retired (no longer in the selection).", values=SERIES_STATUS),
        text("error_code", "Why the series failed.", nullable=True),
        text("error_message", "The same in a sentence.", nullable=True),
        text("fetch_status", "fetched, failed or skipped.", values=("fetched", "failed", "skipped")),
        integer("fetch_attempts", "Transfers until it was complete.", bits=16, minimum=0),
        text(
            "fetch_verified",
            "Weakest check a file passed: md5 (of table or ETag), dicom (whole, the table's UIDs), size.",
            nullable=True,
            values=("md5", "dicom", "size"),
        ),
        integer("segment_count", "Segments.", nullable=True, minimum=0),
        integer("volume_count", "Volumes written.", minimum=0),
        integer("volume_bytes", "Bytes of the volumes.", bits=64, unit="bytes", minimum=0),
        integer("finding_count", "Findings.", minimum=0),
        text("local_path", "Folder of its volumes, relative to the dataset.", nullable=True),
        text(
            "image_path",
            "NIfTI of the segmented images, relative to the dataset, if asked for.",
            nullable=True,
        ),
        text("settings_hash", "Hash of the settings the outputs depend on."),
        integer(
            "retired_idc_version", "IDC release that dropped the series.", bits=16, nullable=True, minimum=1
        ),
    ),
    key=("seg_series_uid",),
    order=("collection_id", "patient_id", "seg_series_uid"),
)

FINDINGS = Table(
    "findings",
    "One row per finding.",
    (
        text("finding_id", "Key: hash of the other columns."),
        text("rule", "Code of the finding, see docs/codes.md."),
        text("severity", "How much it weighs.", values=("info", "hint", "warning", "error", "critical")),
        text("scope", "What it speaks of.", values=("series", "instance", "segment", "dataset")),
        text("seg_series_uid", "SeriesInstanceUID.", nullable=True),
        text("seg_sop_uid", "SOPInstanceUID.", nullable=True),
        integer("segment_number", "SegmentNumber.", nullable=True, minimum=0),
        text("message", "One sentence."),
        text("observed", "Value found.", nullable=True),
        text("expected", "Value expected.", nullable=True),
        text("dicom_tag", "DICOM tag.", nullable=True),
        integer("rule_version", "Version of the rule.", bits=16, minimum=1),
    ),
    key=("finding_id",),
    order=("seg_series_uid", "seg_sop_uid", "segment_number", "rule", "finding_id"),
)

FILES = Table(
    "files",
    "One row per file below volumes/.",
    (
        text("path", "Path relative to the dataset."),
        text("seg_series_uid", "SeriesInstanceUID of the segmentation it was made from."),
        text("seg_sop_uid", "SOPInstanceUID of the segmentation it was made from."),
        text("kind", "What it is.", values=("dseg", "mask", "probseg", "image", "sidecar")),
        integer("size_bytes", "Bytes.", bits=64, unit="bytes", minimum=0),
        text("sha256", "SHA-256 of the bytes, hexadecimal."),
    ),
    key=("seg_series_uid", "path"),
    order=("seg_series_uid", "path"),
)

IMAGES = Table(
    "images",
    "One row per segmentation series and image series that it was drawn on, where images were asked for.",
    (
        text("seg_series_uid", "SeriesInstanceUID of the segmentation."),
        text("image_series_uid", "SeriesInstanceUID of the images."),
        text("collection_id", "Collection; PatientID is unique only within one."),
        text("patient_id", "PatientID (0010,0020)."),
        text("study_uid", "StudyInstanceUID (0020,000D) of the images."),
        text("crdc_series_uuid", "Content id of this version of the images."),
        text("modality", "Modality (0008,0060).", nullable=True),
        text(
            "image_path",
            "NIfTI of the images, relative to the dataset; several segmentations share it.",
            nullable=True,
        ),
        text("unit", "UCUM unit of the values: [hnsf'U], Bq/mL, g/mL, 1.", nullable=True),
        text("data_type", "Type of the values.", nullable=True, values=("int16", "float32")),
        integer("size_i", "Columns of the grid.", unit="voxels", nullable=True, minimum=1),
        integer("size_j", "Rows of the grid.", unit="voxels", nullable=True, minimum=1),
        integer("size_k", "Slices of the grid.", unit="voxels", nullable=True, minimum=1),
        real("spacing_i_mm", "Distance of neighbouring columns.", "mm", nullable=True, minimum=0),
        real("spacing_j_mm", "Distance of neighbouring rows.", "mm", nullable=True, minimum=0),
        real("spacing_k_mm", "Distance of neighbouring slices.", "mm", nullable=True, minimum=0),
        Column("affine_ras_mm", "affine", "Affine (i, j, k, 1) to RAS+, 4x4 row-major.", "mm", nullable=True),
        text("frame_of_reference_uid", "FrameOfReferenceUID (0020,0052).", nullable=True),
        real("rescale_slope", "RescaleSlope (0028,1053); null where slices differ.", nullable=True),
        real("rescale_intercept", "RescaleIntercept (0028,1052); null where slices differ.", nullable=True),
        text("manufacturer", "Manufacturer (0008,0070).", nullable=True),
        text("model_name", "ManufacturerModelName (0008,1090).", nullable=True),
        text("series_description", "SeriesDescription (0008,103E).", nullable=True),
        text("body_part", "BodyPartExamined (0018,0015).", nullable=True),
        text("kernel", "ConvolutionKernel (0018,1210).", nullable=True),
        text("contrast_agent", "ContrastBolusAgent (0018,0010).", nullable=True),
        integer("instance_count", "SOP instances of the series as the table states them.", minimum=0),
        integer(
            "source_bytes", "Bytes of the series as the table states them.", bits=64, unit="bytes", minimum=0
        ),
        text("license", "Short name of the licence.", nullable=True),
        text("status", "ok or failed.", values=("ok", "failed")),
        text("error_code", "Why there is no image.", nullable=True),
        text("error_message", "The same in a sentence.", nullable=True),
        text("converter", "Converter name/version."),
    ),
    key=("seg_series_uid", "image_series_uid"),
    order=("seg_series_uid", "image_series_uid"),
)

DATASET_TABLES = (SERIES, SEGMENTS, FINDINGS, FILES, IMAGES)

AGREEMENT = Table(
    "agreement",
    "One row per pair of segments of one structure on one image series, by two segmentations.",
    (
        text("collection_id", "Collection."),
        text("patient_id", "PatientID (0010,0020)."),
        text("source_series_uid", "SeriesInstanceUID of the images both were drawn on."),
        text("structure", "Name of the structure, from the first segment."),
        text("laterality", "Side.", nullable=True),
        *(
            column
            for which in ("first", "second")
            for column in (
                text(f"segment_id_{which}", f"Key of the {which} segment."),
                text(f"seg_series_uid_{which}", f"Series of the {which} segment."),
                text(
                    f"analysis_result_id_{which}", f"Analysis result of the {which} segment.", nullable=True
                ),
                text(
                    f"algorithm_type_{which}", f"SegmentAlgorithmType of the {which} segment.", nullable=True
                ),
                text(
                    f"algorithm_name_{which}", f"SegmentAlgorithmName of the {which} segment.", nullable=True
                ),
                real(f"volume_{which}_ml", f"Volume of the {which} segment.", "ml", nullable=True, minimum=0),
            )
        ),
        real("dice", "2 |A∩B| / (|A| + |B|).", nullable=True, minimum=0),
        real("jaccard", "|A∩B| / |A∪B|.", nullable=True, minimum=0),
        real("volume_difference_ml", "Second minus first.", "ml", nullable=True),
        real("centroid_distance_mm", "Distance of the centroids.", "mm", nullable=True, minimum=0),
        real(
            "hausdorff95_mm",
            "The larger of both directed 95th percentiles of surface distances.",
            "mm",
            nullable=True,
            minimum=0,
        ),
        real(
            "mean_surface_distance_mm",
            "Mean of both directed surface distances.",
            "mm",
            nullable=True,
            minimum=0,
        ),
        text("status", "ok or failed.", values=("ok", "failed")),
        text("error_code", "Why there are no numbers.", nullable=True),
        text("error_message", "The same in a sentence.", nullable=True),
    ),
    key=("segment_id_first", "segment_id_second"),
    order=(
        "collection_id",
        "patient_id",
        "source_series_uid",
        "structure",
        "segment_id_first",
        "segment_id_second",
    ),
)
