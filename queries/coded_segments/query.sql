-- One flat row per segment, codes as written; modifiers, which may name a side, as scheme:value.
-- IDC's `segmentations` leaves label maps out; they come second.
WITH opened AS (
  SELECT
    *,
    SegmentedPropertyType.SegmentedPropertyTypeModifierCodeSequence[SAFE_OFFSET(0)] AS type_item_1,
    SegmentedPropertyType.SegmentedPropertyTypeModifierCodeSequence[SAFE_OFFSET(1)] AS type_item_2,
    SegmentedPropertyType.SegmentedPropertyTypeModifierCodeSequence[SAFE_OFFSET(2)] AS type_item_3,
    SegmentedPropertyType.SegmentedPropertyTypeModifierCodeSequence[SAFE_OFFSET(3)] AS type_item_4,
    SegmentedPropertyType.AnatomicRegionModifierSequence[SAFE_OFFSET(0)] AS region_item_2,
    SegmentedPropertyType.AnatomicRegionModifierSequence[SAFE_OFFSET(1)] AS region_item_3
  FROM segmentations
)
SELECT
  SeriesInstanceUID AS seg_series_uid,
  SOPInstanceUID AS seg_sop_uid,
  SegmentNumber AS segment_number,
  segmented_SeriesInstanceUID AS source_series_uid,
  SegmentationType AS segmentation_type,
  SegmentAlgorithmType AS algorithm_type,
  SegmentAlgorithmName AS algorithm_name,
  SegmentedPropertyCategory.CodeValue AS category_code,
  SegmentedPropertyCategory.CodingSchemeDesignator AS category_scheme,
  SegmentedPropertyCategory.CodeMeaning AS category_meaning,
  SegmentedPropertyType.CodeValue AS type_code,
  SegmentedPropertyType.CodingSchemeDesignator AS type_scheme,
  SegmentedPropertyType.CodeMeaning AS type_meaning,
  AnatomicRegion.CodeValue AS region_code,
  AnatomicRegion.CodingSchemeDesignator AS region_scheme,
  AnatomicRegion.CodeMeaning AS region_meaning,
  type_item_1.CodeValue AS type_modifier_code,
  AnatomicRegionModifier.CodeValue AS region_modifier_code,
  CONCAT(type_item_1.CodingSchemeDesignator, ':', type_item_1.CodeValue) AS type_modifier_1,
  CONCAT(type_item_2.CodingSchemeDesignator, ':', type_item_2.CodeValue) AS type_modifier_2,
  CONCAT(type_item_3.CodingSchemeDesignator, ':', type_item_3.CodeValue) AS type_modifier_3,
  CONCAT(type_item_4.CodingSchemeDesignator, ':', type_item_4.CodeValue) AS type_modifier_4,
  CONCAT(AnatomicRegionModifier.CodingSchemeDesignator, ':', AnatomicRegionModifier.CodeValue) AS region_modifier_1,
  CONCAT(region_item_2.CodingSchemeDesignator, ':', region_item_2.CodeValue) AS region_modifier_2,
  CONCAT(region_item_3.CodingSchemeDesignator, ':', region_item_3.CodeValue) AS region_modifier_3
FROM opened
UNION ALL
SELECT
  seg_series_uid,
  seg_sop_uid,
  segment_number,
  source_series_uid,
  segmentation_type,
  algorithm_type,
  algorithm_name,
  category_code,
  category_scheme,
  category_meaning,
  type_code,
  type_scheme,
  type_meaning,
  region_code,
  region_scheme,
  region_meaning,
  type_modifier_code,
  region_modifier_code,
  type_modifier_1,
  type_modifier_2,
  type_modifier_3,
  type_modifier_4,
  region_modifier_1,
  region_modifier_2,
  region_modifier_3
FROM labelmap_segments
