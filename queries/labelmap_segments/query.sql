-- Label maps (SOP class 66.7), which IDC's `segmentations` leaves out, from the instance table itself.
WITH opened AS (
  SELECT
    dicom_all.SeriesInstanceUID AS seg_series_uid,
    dicom_all.SOPInstanceUID AS seg_sop_uid,
    dicom_all.ReferencedSeriesSequence[SAFE_OFFSET(0)].SeriesInstanceUID AS source_series_uid,
    segment.SegmentNumber AS segment_number,
    segment.SegmentAlgorithmType AS algorithm_type,
    segment.SegmentAlgorithmName[SAFE_OFFSET(0)] AS algorithm_name,
    segment.SegmentedPropertyCategoryCodeSequence[SAFE_OFFSET(0)] AS category_item,
    segment.SegmentedPropertyTypeCodeSequence[SAFE_OFFSET(0)] AS type_item,
    segment.AnatomicRegionSequence[SAFE_OFFSET(0)] AS region_item
  FROM dicom_all
  CROSS JOIN UNNEST(dicom_all.SegmentSequence) AS segment
  WHERE dicom_all.SOPClassUID = '1.2.840.10008.5.1.4.1.1.66.7'
),
modified AS (
  SELECT
    *,
    type_item.SegmentedPropertyTypeModifierCodeSequence[SAFE_OFFSET(0)] AS type_item_1,
    type_item.SegmentedPropertyTypeModifierCodeSequence[SAFE_OFFSET(1)] AS type_item_2,
    type_item.SegmentedPropertyTypeModifierCodeSequence[SAFE_OFFSET(2)] AS type_item_3,
    type_item.SegmentedPropertyTypeModifierCodeSequence[SAFE_OFFSET(3)] AS type_item_4,
    region_item.AnatomicRegionModifierSequence[SAFE_OFFSET(0)] AS region_item_1,
    region_item.AnatomicRegionModifierSequence[SAFE_OFFSET(1)] AS region_item_2,
    region_item.AnatomicRegionModifierSequence[SAFE_OFFSET(2)] AS region_item_3
  FROM opened
)
SELECT
  seg_series_uid,
  seg_sop_uid,
  segment_number,
  source_series_uid,
  'LABELMAP' AS segmentation_type,
  algorithm_type,
  algorithm_name,
  category_item.CodeValue AS category_code,
  category_item.CodingSchemeDesignator AS category_scheme,
  category_item.CodeMeaning AS category_meaning,
  type_item.CodeValue AS type_code,
  type_item.CodingSchemeDesignator AS type_scheme,
  type_item.CodeMeaning AS type_meaning,
  region_item.CodeValue AS region_code,
  region_item.CodingSchemeDesignator AS region_scheme,
  region_item.CodeMeaning AS region_meaning,
  type_item_1.CodeValue AS type_modifier_code,
  region_item_1.CodeValue AS region_modifier_code,
  CONCAT(type_item_1.CodingSchemeDesignator, ':', type_item_1.CodeValue) AS type_modifier_1,
  CONCAT(type_item_2.CodingSchemeDesignator, ':', type_item_2.CodeValue) AS type_modifier_2,
  CONCAT(type_item_3.CodingSchemeDesignator, ':', type_item_3.CodeValue) AS type_modifier_3,
  CONCAT(type_item_4.CodingSchemeDesignator, ':', type_item_4.CodeValue) AS type_modifier_4,
  CONCAT(region_item_1.CodingSchemeDesignator, ':', region_item_1.CodeValue) AS region_modifier_1,
  CONCAT(region_item_2.CodingSchemeDesignator, ':', region_item_2.CodeValue) AS region_modifier_2,
  CONCAT(region_item_3.CodingSchemeDesignator, ':', region_item_3.CodeValue) AS region_modifier_3
FROM modified
