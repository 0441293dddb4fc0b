"""Every table of the project, declared once: Arrow schema, units, descriptions, rules.

The stages' contract is a table. Arrow schemas, `columns.tsv`, the data dictionary in
`docs/columns.md` and the checks derive from the declarations below.

Naming: units are suffixes (``_mm _ml _bytes _s``), axes are ``i`` (column), ``j`` (row), ``k``
(slice), booleans start with ``is_``/``has_`` or are verbs, codes are ``_code _scheme _meaning``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION = 2
"""Version of the dataset folder's format, in `dataset.json`."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    name : str
    kind : str
        Arrow type by name, one of `KINDS`; `type` is the type itself. Arrow is imported when first
        asked for: whoever only needs the names does without.
    description : str
        One sentence, for people.
    unit : str
        Empty where there is none.
    nullable : bool
    values : tuple of str
        The allowed values of an enumerated column.
    minimum : float or None
        Smallest allowed value.
    """

    name: str
    kind: str
    description: str
    unit: str = ""
    nullable: bool = False
    values: tuple[str, ...] = ()
    minimum: float | None = None

    @cached_property
    def type(self) -> pa.DataType:
        """The Arrow type."""
        return _arrow_type(self.kind)

    @property
    def field(self) -> pa.Field:
        """The Arrow field, unit and description in its metadata."""
        import pyarrow as pa

        metadata = {"description": self.description} | ({"unit": self.unit} if self.unit else {})
        return pa.field(self.name, self.type, self.nullable, metadata)


@dataclass(frozen=True)
class Table:
    """One table: its columns, its key and its row order."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Arrow schema."""
        import pyarrow as pa

        return pa.schema([column.field for column in self.columns], {"table": self.name})

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(column.name for column in self.columns)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def from_rows(self, rows: list[dict[str, Any]]) -> pa.Table:
        """An Arrow table of `rows`; every key must be a column, absent ones are null."""
        for row in rows:
            if unknown := row.keys() - set(self.names):
                raise AssertionError(f"{self.name} has no column {sorted(unknown)}")
        import pyarrow as pa

        return pa.Table.from_pylist(rows, schema=self.arrow)

    def empty(self) -> pa.Table:
        """The table without rows."""
        return self.arrow.empty_table()


KINDS = (
    *("string", "bool", "int8", "int16", "int32", "int64", "float32", "float64"),
    *("affine", "code", "property_type", "strings", "reals"),
)
"""Names of Arrow types: the plain ones, and five of our own."""


@cache
def _arrow_type(kind: str) -> pa.DataType:
    import pyarrow as pa

    code = pa.struct([(name, pa.string()) for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")])
    modifiers = ("AnatomicRegionModifierSequence", "SegmentedPropertyTypeModifierCodeSequence")
    if kind == "affine":
        return pa.list_(pa.field("item", pa.float64()), 16)
    if kind == "code":
        return code
    if kind in ("strings", "reals"):
        return pa.list_(pa.string() if kind == "strings" else pa.float64())
    if kind == "property_type":
        return pa.struct([*code, *((name, pa.list_(code)) for name in modifiers)])
    plain: pa.DataType = pa.bool_() if kind == "bool" else getattr(pa, kind)()
    return plain


def _text(name: str, description: str, *, nullable: bool = False, values: tuple[str, ...] = ()) -> Column:
    return Column(name, "string", description, nullable=nullable, values=values)


def _int(
    name: str,
    description: str,
    *,
    bits: int = 32,
    unit: str = "",
    nullable: bool = False,
    minimum: float | None = None,
) -> Column:
    return Column(name, f"int{bits}", description, unit, nullable, (), minimum)


def _real(
    name: str, description: str, unit: str = "", *, nullable: bool = False, minimum: float | None = None
) -> Column:
    return Column(name, "float64", description, unit, nullable, (), minimum)


def _flag(name: str, description: str, *, nullable: bool = False) -> Column:
    return Column(name, "bool", description, nullable=nullable)


def _concept(prefix: str, what: str) -> tuple[Column, ...]:
    return (
        _text(f"{prefix}_code", f"{what}: Code Value (0008,0100) as written.", nullable=True),
        _text(f"{prefix}_scheme", f"{what}: Coding Scheme Designator (0008,0102) as written.", nullable=True),
        _text(f"{prefix}_meaning", f"{what}: Code Meaning (0008,0104) as written.", nullable=True),
    )


SERIES_KEYS = (
    _int("idc_version", "IDC release; null for an own archive.", bits=16, nullable=True, minimum=1),
    _text("collection_id", "Collection; PatientID is unique only within one."),
    _text("analysis_result_id", "Analysis result the series belongs to, if any.", nullable=True),
    _text("patient_id", "PatientID (0010,0020)."),
    _text("study_uid", "StudyInstanceUID (0020,000D)."),
    _text("seg_series_uid", "SeriesInstanceUID (0020,000E) of the segmentation."),
)

SELECTION_COLUMNS = (
    *SERIES_KEYS,
    _text("crdc_series_uuid", "Content id of this version of the series; changes whenever its bytes do."),
    _text("series_url", "URL of the folder of the series, in a bucket or here; or of its one object."),
    _int("size_bytes", "Bytes of the series as the table states them.", bits=64, unit="bytes", minimum=0),
    _int("instance_count", "SOP instances of the series as the table states them.", minimum=0),
    _text("sop_class_uid", "SOPClassUID (0008,0016), where the table has it.", nullable=True),
    _text("transfer_syntax_uid", "TransferSyntaxUID (0002,0010), where the table has it.", nullable=True),
    _text("source_series_uid", "SeriesInstanceUID of the segmented images.", nullable=True),
    _text("source_modality", "Modality of the segmented images.", nullable=True),
    _text("license", "Short name of the licence.", nullable=True),
    _text("source_doi", "DOI to cite.", nullable=True),
    _text("split", "Part of the cohort's split by patient, as `train`; null without one.", nullable=True),
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
        _text("seg_series_uid", "SeriesInstanceUID."),
        _text("url", "URL of the object, in a bucket or here."),
        _int("size_bytes", "Bytes.", bits=64, unit="bytes", minimum=0),
        _text("md5", "MD5 of the bytes, hexadecimal.", nullable=True),
        _text("sop_uid", "SOPInstanceUID.", nullable=True),
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
        _text("segment_id", "Key: <seg_series_uid>/<seg_sop_uid>/<segment_number>."),
        *SERIES_KEYS,
        _text("seg_sop_uid", "SOPInstanceUID (0008,0018) of the segmentation."),
        _int("segment_number", "SegmentNumber (0062,0004); the voxel value in the volume.", minimum=0),
        # source
        _text("source_series_uid", "SeriesInstanceUID of the segmented images.", nullable=True),
        _text("source_modality", "Modality of the segmented images.", nullable=True),
        _text("frame_of_reference_uid", "FrameOfReferenceUID (0020,0052).", nullable=True),
        _text("tracking_id", "TrackingID (0062,0020).", nullable=True),
        _text("tracking_uid", "TrackingUID (0062,0021).", nullable=True),
        # meaning
        _text("label", "SegmentLabel (0062,0005) as written.", nullable=True),
        _text("description", "SegmentDescription (0062,0006).", nullable=True),
        _text("structure", "Name for filters: the type's (or region's) meaning and side, `kidney_left`."),
        _text(
            "laterality",
            "Side, from a type modifier or a region modifier.",
            nullable=True,
            values=("left", "right", "bilateral"),
        ),
        *_concept("category", "Segmented property category"),
        *_concept("type", "Segmented property type"),
        _text("type_modifier_code", "Segmented property type modifier: first Code Value.", nullable=True),
        *_concept("region", "Anatomic region"),
        _text("region_modifier_code", "Anatomic region modifier: first Code Value.", nullable=True),
        _text(
            "algorithm_type",
            "SegmentAlgorithmType (0062,0008).",
            nullable=True,
            values=("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"),
        ),
        _text("algorithm_name", "SegmentAlgorithmName (0062,0009).", nullable=True),
        _text("color_hex", "sRGB colour #RRGGBB, from RecommendedDisplayCIELabValue or a stable palette."),
        # storage
        _text(
            "segmentation_type",
            "SegmentationType (0062,0001).",
            nullable=True,
            values=("BINARY", "FRACTIONAL", "LABELMAP"),
        ),
        _int("layer", "Layer of the volume that holds the segment.", nullable=True, minimum=0),
        _int("label_index", "Label of the structure, the same in the whole dataset.", nullable=True),
        _text("volume_path", "NIfTI label map with the segment, relative to the dataset.", nullable=True),
        _text("mask_path", "NIfTI mask of this segment alone, if asked for.", nullable=True),
        _text("fraction_path", "NIfTI of a FRACTIONAL segment.", nullable=True),
        _int("max_fractional_value", "MaximumFractionalValue (0062,000E): it means 1.", nullable=True),
        # grid
        _int("size_i", "Columns of the grid.", unit="voxels", nullable=True, minimum=1),
        _int("size_j", "Rows of the grid.", unit="voxels", nullable=True, minimum=1),
        _int("size_k", "Slices of the grid.", unit="voxels", nullable=True, minimum=1),
        _real(
            "spacing_i_mm",
            "Distance of neighbouring columns; null where the file does not say.",
            "mm",
            nullable=True,
            minimum=0,
        ),
        _real(
            "spacing_j_mm",
            "Distance of neighbouring rows; null where the file does not say.",
            "mm",
            nullable=True,
            minimum=0,
        ),
        _real(
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
        _flag("is_regular", "Slices are equidistant and parallel.", nullable=True),
        # measures
        _int("voxel_count", "Voxels of the segment.", bits=64, unit="voxels", nullable=True, minimum=0),
        _real(
            "volume_ml", "Voxels (or sum of fractions) times voxel volume.", "ml", nullable=True, minimum=0
        ),
        *(
            _int(
                f"bbox_{end}_{axis}",
                f"{'Smallest' if end == 'min' else 'Largest'} {axis} of the segment, inclusive.",
                unit="voxels",
                nullable=True,
                minimum=0,
            )
            for axis in "ijk"
            for end in ("min", "max")
        ),
        _real("centroid_r_mm", "Mean position, towards the patient's right.", "mm", nullable=True),
        _real("centroid_a_mm", "Mean position, towards anterior.", "mm", nullable=True),
        _real("centroid_s_mm", "Mean position, towards superior.", "mm", nullable=True),
        _int("slice_count", "Slices the segment has voxels on.", unit="voxels", nullable=True, minimum=0),
        _int("component_count", "26-connected components.", nullable=True, minimum=0),
        Column(
            "largest_component_fraction",
            "float32",
            "Share of voxels in the largest component, 0 to 1.",
            nullable=True,
            minimum=0,
        ),
        _flag("touches_border", "The segment has voxels on the outermost ones of the grid.", nullable=True),
        _int(
            "overlap_voxel_count",
            "Voxels shared with other segments.",
            bits=64,
            unit="voxels",
            nullable=True,
            minimum=0,
        ),
        # trust
        _text(
            "status", "ok, warned (findings of severity warning or more) or failed.", values=SEGMENT_STATUS
        ),
        _text("error_code", "Why the series failed.", nullable=True),
        _int("finding_count", "Findings about the segment or its instance.", minimum=0),
        _int("source_bytes", "Bytes of the DICOM file.", bits=64, unit="bytes", nullable=True, minimum=0),
        _text("source_md5", "MD5 of the DICOM file; null where fetch.verify_md5 is off.", nullable=True),
        _text("license", "Short name of the licence.", nullable=True),
        _text("source_doi", "DOI to cite.", nullable=True),
        _text("decoder", "Decoder name/version."),
    ),
    key=("segment_id",),
    order=("collection_id", "patient_id", "seg_series_uid", "seg_sop_uid", "segment_number"),
)

SERIES = Table(
    "series",
    "One row per series of the dataset, failed and retired ones too.",
    (
        *SELECTION_COLUMNS,
        _text("status", "ok, warned, failed, or retired (no longer in the selection).", values=SERIES_STATUS),
        _text("error_code", "Why the series failed.", nullable=True),
        _text("error_message", "The same in a sentence.", nullable=True),
        _text("fetch_status", "fetched, failed or skipped.", values=("fetched", "failed", "skipped")),
        _int("fetch_attempts", "Transfers until it was complete.", bits=16, minimum=0),
        _text(
            "fetch_verified",
            "Weakest check a file passed: md5 (of table or ETag), dicom (whole, the table's UIDs), size.",
            nullable=True,
            values=("md5", "dicom", "size"),
        ),
        _int("segment_count", "Segments.", nullable=True, minimum=0),
        _int("volume_count", "Volumes written.", minimum=0),
        _int("volume_bytes", "Bytes of the volumes.", bits=64, unit="bytes", minimum=0),
        _int("finding_count", "Findings.", minimum=0),
        _text("local_path", "Folder of its volumes, relative to the dataset.", nullable=True),
        _text(
            "image_path",
            "NIfTI of the segmented images, relative to the dataset, if asked for.",
            nullable=True,
        ),
        _text("settings_hash", "Hash of the settings the outputs depend on."),
        _int(
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
        _text("finding_id", "Key: hash of the other columns."),
        _text("rule", "Code of the finding, see docs/codes.md."),
        _text("severity", "How much it weighs.", values=("info", "hint", "warning", "error", "critical")),
        _text("scope", "What it speaks of.", values=("series", "instance", "segment", "dataset")),
        _text("seg_series_uid", "SeriesInstanceUID.", nullable=True),
        _text("seg_sop_uid", "SOPInstanceUID.", nullable=True),
        _int("segment_number", "SegmentNumber.", nullable=True, minimum=0),
        _text("message", "One sentence."),
        _text("observed", "Value found.", nullable=True),
        _text("expected", "Value expected.", nullable=True),
        _text("dicom_tag", "DICOM tag.", nullable=True),
        _int("rule_version", "Version of the rule.", bits=16, minimum=1),
    ),
    key=("finding_id",),
    order=("seg_series_uid", "seg_sop_uid", "segment_number", "rule", "finding_id"),
)

FILES = Table(
    "files",
    "One row per file below volumes/.",
    (
        _text("path", "Path relative to the dataset."),
        _text("seg_series_uid", "SeriesInstanceUID of the segmentation it was made from."),
        _text("seg_sop_uid", "SOPInstanceUID of the segmentation it was made from."),
        _text("kind", "What it is.", values=("dseg", "mask", "probseg", "image", "sidecar")),
        _int("size_bytes", "Bytes.", bits=64, unit="bytes", minimum=0),
        _text("sha256", "SHA-256 of the bytes, hexadecimal."),
    ),
    key=("seg_series_uid", "path"),
    order=("seg_series_uid", "path"),
)

IMAGES = Table(
    "images",
    "One row per segmentation series and image series that it was drawn on, where images were asked for.",
    (
        _text("seg_series_uid", "SeriesInstanceUID of the segmentation."),
        _text("image_series_uid", "SeriesInstanceUID of the images."),
        _text("collection_id", "Collection; PatientID is unique only within one."),
        _text("patient_id", "PatientID (0010,0020)."),
        _text("study_uid", "StudyInstanceUID (0020,000D) of the images."),
        _text("crdc_series_uuid", "Content id of this version of the images."),
        _text("modality", "Modality (0008,0060).", nullable=True),
        _text(
            "image_path",
            "NIfTI of the images, relative to the dataset; several segmentations share it.",
            nullable=True,
        ),
        _text("unit", "UCUM unit of the values: [hnsf'U], Bq/mL, g/mL, 1.", nullable=True),
        _text("data_type", "Type of the values.", nullable=True, values=("int16", "float32")),
        _int("size_i", "Columns of the grid.", unit="voxels", nullable=True, minimum=1),
        _int("size_j", "Rows of the grid.", unit="voxels", nullable=True, minimum=1),
        _int("size_k", "Slices of the grid.", unit="voxels", nullable=True, minimum=1),
        _real("spacing_i_mm", "Distance of neighbouring columns.", "mm", nullable=True, minimum=0),
        _real("spacing_j_mm", "Distance of neighbouring rows.", "mm", nullable=True, minimum=0),
        _real("spacing_k_mm", "Distance of neighbouring slices.", "mm", nullable=True, minimum=0),
        Column("affine_ras_mm", "affine", "Affine (i, j, k, 1) to RAS+, 4x4 row-major.", "mm", nullable=True),
        _text("frame_of_reference_uid", "FrameOfReferenceUID (0020,0052).", nullable=True),
        _real("rescale_slope", "RescaleSlope (0028,1053); null where slices differ.", nullable=True),
        _real("rescale_intercept", "RescaleIntercept (0028,1052); null where slices differ.", nullable=True),
        _text("manufacturer", "Manufacturer (0008,0070).", nullable=True),
        _text("model_name", "ManufacturerModelName (0008,1090).", nullable=True),
        _text("series_description", "SeriesDescription (0008,103E).", nullable=True),
        _text("body_part", "BodyPartExamined (0018,0015).", nullable=True),
        _text("kernel", "ConvolutionKernel (0018,1210).", nullable=True),
        _text("contrast_agent", "ContrastBolusAgent (0018,0010).", nullable=True),
        _int("instance_count", "SOP instances of the series as the table states them.", minimum=0),
        _int(
            "source_bytes", "Bytes of the series as the table states them.", bits=64, unit="bytes", minimum=0
        ),
        _text("license", "Short name of the licence.", nullable=True),
        _text("status", "ok or failed.", values=("ok", "failed")),
        _text("error_code", "Why there is no image.", nullable=True),
        _text("error_message", "The same in a sentence.", nullable=True),
        _text("converter", "Converter name/version."),
    ),
    key=("seg_series_uid", "image_series_uid"),
    order=("seg_series_uid", "image_series_uid"),
)

DATASET_TABLES = (SERIES, SEGMENTS, FINDINGS, FILES, IMAGES)

AGREEMENT = Table(
    "agreement",
    "One row per pair of segments of one structure on one image series, by two segmentations.",
    (
        _text("collection_id", "Collection."),
        _text("patient_id", "PatientID (0010,0020)."),
        _text("source_series_uid", "SeriesInstanceUID of the images both were drawn on."),
        _text("structure", "Name of the structure, from the first segment."),
        _text("laterality", "Side.", nullable=True),
        *(
            column
            for which in ("first", "second")
            for column in (
                _text(f"segment_id_{which}", f"Key of the {which} segment."),
                _text(f"seg_series_uid_{which}", f"Series of the {which} segment."),
                _text(
                    f"analysis_result_id_{which}", f"Analysis result of the {which} segment.", nullable=True
                ),
                _text(
                    f"algorithm_type_{which}", f"SegmentAlgorithmType of the {which} segment.", nullable=True
                ),
                _text(
                    f"algorithm_name_{which}", f"SegmentAlgorithmName of the {which} segment.", nullable=True
                ),
                _real(
                    f"volume_{which}_ml", f"Volume of the {which} segment.", "ml", nullable=True, minimum=0
                ),
            )
        ),
        _real("dice", "2 |A∩B| / (|A| + |B|).", nullable=True, minimum=0),
        _real("jaccard", "|A∩B| / |A∪B|.", nullable=True, minimum=0),
        _real("volume_difference_ml", "Second minus first.", "ml", nullable=True),
        _real("centroid_distance_mm", "Distance of the centroids.", "mm", nullable=True, minimum=0),
        _real(
            "hausdorff95_mm",
            "The larger of both directed 95th percentiles of surface distances.",
            "mm",
            nullable=True,
            minimum=0,
        ),
        _real(
            "mean_surface_distance_mm",
            "Mean of both directed surface distances.",
            "mm",
            nullable=True,
            minimum=0,
        ),
        _text("status", "ok or failed.", values=("ok", "failed")),
        _text("error_code", "Why there are no numbers.", nullable=True),
        _text("error_message", "The same in a sentence.", nullable=True),
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

# --- IDC's own tables, as IDC names them ------------------------------------------------------------

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
        _text("SeriesInstanceUID", "SeriesInstanceUID of the images."),
        _real("slice_thickness_mm", "SliceThickness (0018,0050).", "mm", nullable=True),
        _real("pixel_spacing_mm", "PixelSpacing (0028,0030), the larger one.", "mm", nullable=True),
        _int("row_count", "Rows (0028,0010).", bits=64, nullable=True),
        _int("column_count", "Columns (0028,0011).", bits=64, nullable=True),
        Column("kernels", "strings", "ConvolutionKernel (0018,1210).", nullable=True),
        _real("kvp", "KVP (0018,0060).", "kV", nullable=True),
        _real("field_strength_t", "MagneticFieldStrength (0018,0087).", "T", nullable=True),
        _text("sequence_name", "SequenceName (0018,0024).", nullable=True),
        _text("acquisition_type", "MRAcquisitionType (0018,0023): 2D or 3D.", nullable=True),
        Column("echo_times_ms", "reals", "EchoTime (0018,0081), each value once.", "ms", nullable=True),
        _real("repetition_time_ms", "RepetitionTime (0018,0080).", "ms", nullable=True),
        Column("b_values", "reals", "DiffusionBValue (0018,9087), each value once.", "s/mm2", nullable=True),
        _text("radiopharmaceutical", "Radiopharmaceutical (0018,0031).", nullable=True),
        Column("contrast_agents", "strings", "ContrastBolusAgent (0018,0010).", nullable=True),
        _flag("has_contrast", "ContrastBolusAgent (0018,0010) names one.", nullable=True),
        _flag("is_regular", "The slices make up a regularly spaced volume.", nullable=True),
        _real("slice_spacing_mm", "Distance of neighbouring slices.", "mm", nullable=True),
        _real("obliquity_deg", "Largest angle to the patient's axes.", "degrees", nullable=True),
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
