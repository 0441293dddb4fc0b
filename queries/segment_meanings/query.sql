-- One flat row per segment: what it means, on which side it lies, who made it.
WITH coded AS (
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
    SegmentedPropertyType.SegmentedPropertyTypeModifierCodeSequence[SAFE_OFFSET(0)] AS first_modifier,
    SegmentedPropertyType.SegmentedPropertyTypeModifierCodeSequence[SAFE_OFFSET(1)] AS second_modifier,
    SegmentedPropertyType.AnatomicRegionModifierSequence[SAFE_OFFSET(0)] AS type_region_modifier,
    AnatomicRegionModifier AS region_modifier
  FROM segmentations
),
sided AS (
  SELECT
    *,
    CONCAT(first_modifier.CodingSchemeDesignator, ':', first_modifier.CodeValue) AS side_1,
    CONCAT(second_modifier.CodingSchemeDesignator, ':', second_modifier.CodeValue) AS side_2,
    CONCAT(type_region_modifier.CodingSchemeDesignator, ':', type_region_modifier.CodeValue) AS side_3,
    CONCAT(region_modifier.CodingSchemeDesignator, ':', region_modifier.CodeValue) AS side_4
  FROM coded
)
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
  first_modifier.CodeValue AS type_modifier_code,
  region_code,
  region_scheme,
  region_meaning,
  region_modifier.CodeValue AS region_modifier_code,
  CONCAT(category_scheme, ':', category_code) AS category_key,
  CONCAT(type_scheme, ':', type_code) AS type_key,
  CONCAT(region_scheme, ':', region_code) AS region_key,
  -- A type's modifier is more specific than a region's; a modifier that names no side is passed over.
  CASE
    WHEN side_1 IN ('SCT:7771000', 'SRT:G-A101', 'SNM3:G-A101', '99SDM:G-A101') THEN 'left'
    WHEN side_1 IN ('SCT:24028007', 'SRT:G-A100', 'SNM3:G-A100', '99SDM:G-A100') THEN 'right'
    WHEN side_1 IN ('SCT:51440002', 'SRT:G-A102', 'SNM3:G-A102', '99SDM:G-A102') THEN 'bilateral'
    WHEN side_2 IN ('SCT:7771000', 'SRT:G-A101', 'SNM3:G-A101', '99SDM:G-A101') THEN 'left'
    WHEN side_2 IN ('SCT:24028007', 'SRT:G-A100', 'SNM3:G-A100', '99SDM:G-A100') THEN 'right'
    WHEN side_2 IN ('SCT:51440002', 'SRT:G-A102', 'SNM3:G-A102', '99SDM:G-A102') THEN 'bilateral'
    WHEN side_3 IN ('SCT:7771000', 'SRT:G-A101', 'SNM3:G-A101', '99SDM:G-A101') THEN 'left'
    WHEN side_3 IN ('SCT:24028007', 'SRT:G-A100', 'SNM3:G-A100', '99SDM:G-A100') THEN 'right'
    WHEN side_3 IN ('SCT:51440002', 'SRT:G-A102', 'SNM3:G-A102', '99SDM:G-A102') THEN 'bilateral'
    WHEN side_4 IN ('SCT:7771000', 'SRT:G-A101', 'SNM3:G-A101', '99SDM:G-A101') THEN 'left'
    WHEN side_4 IN ('SCT:24028007', 'SRT:G-A100', 'SNM3:G-A100', '99SDM:G-A100') THEN 'right'
    WHEN side_4 IN ('SCT:51440002', 'SRT:G-A102', 'SNM3:G-A102', '99SDM:G-A102') THEN 'bilateral'
  END AS laterality
FROM sided
