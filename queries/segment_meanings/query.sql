-- One flat row per segment: what it means, on which side it lies, who made it.
-- Names are given to codes in one place only, segtools/terminology; a name of a cohort file comes here as `concept_key`s.
WITH sided AS (
  SELECT
    *,
    type_modifier_1 IN ('SCT:7771000', 'SRT:G-A101', 'SNM3:G-A101', '99SDM:G-A101')
    OR type_modifier_2 IN ('SCT:7771000', 'SRT:G-A101', 'SNM3:G-A101', '99SDM:G-A101')
    OR type_modifier_3 IN ('SCT:7771000', 'SRT:G-A101', 'SNM3:G-A101', '99SDM:G-A101')
    OR type_modifier_4 IN ('SCT:7771000', 'SRT:G-A101', 'SNM3:G-A101', '99SDM:G-A101') AS type_is_left,
    type_modifier_1 IN ('SCT:24028007', 'SRT:G-A100', 'SNM3:G-A100', '99SDM:G-A100')
    OR type_modifier_2 IN ('SCT:24028007', 'SRT:G-A100', 'SNM3:G-A100', '99SDM:G-A100')
    OR type_modifier_3 IN ('SCT:24028007', 'SRT:G-A100', 'SNM3:G-A100', '99SDM:G-A100')
    OR type_modifier_4 IN ('SCT:24028007', 'SRT:G-A100', 'SNM3:G-A100', '99SDM:G-A100') AS type_is_right,
    type_modifier_1 IN ('SCT:51440002', 'SRT:G-A102', 'SNM3:G-A102', '99SDM:G-A102')
    OR type_modifier_2 IN ('SCT:51440002', 'SRT:G-A102', 'SNM3:G-A102', '99SDM:G-A102')
    OR type_modifier_3 IN ('SCT:51440002', 'SRT:G-A102', 'SNM3:G-A102', '99SDM:G-A102')
    OR type_modifier_4 IN ('SCT:51440002', 'SRT:G-A102', 'SNM3:G-A102', '99SDM:G-A102') AS type_is_bilateral,
    region_modifier_1 IN ('SCT:7771000', 'SRT:G-A101', 'SNM3:G-A101', '99SDM:G-A101')
    OR region_modifier_2 IN ('SCT:7771000', 'SRT:G-A101', 'SNM3:G-A101', '99SDM:G-A101')
    OR region_modifier_3 IN ('SCT:7771000', 'SRT:G-A101', 'SNM3:G-A101', '99SDM:G-A101') AS region_is_left,
    region_modifier_1 IN ('SCT:24028007', 'SRT:G-A100', 'SNM3:G-A100', '99SDM:G-A100')
    OR region_modifier_2 IN ('SCT:24028007', 'SRT:G-A100', 'SNM3:G-A100', '99SDM:G-A100')
    OR region_modifier_3 IN ('SCT:24028007', 'SRT:G-A100', 'SNM3:G-A100', '99SDM:G-A100') AS region_is_right,
    region_modifier_1 IN ('SCT:51440002', 'SRT:G-A102', 'SNM3:G-A102', '99SDM:G-A102')
    OR region_modifier_2 IN ('SCT:51440002', 'SRT:G-A102', 'SNM3:G-A102', '99SDM:G-A102')
    OR region_modifier_3 IN ('SCT:51440002', 'SRT:G-A102', 'SNM3:G-A102', '99SDM:G-A102') AS region_is_bilateral
  FROM coded_segments
),
keyed AS (
  SELECT
    *,
    CONCAT(category_scheme, ':', category_code) AS category_key,
    CONCAT(type_scheme, ':', type_code) AS type_key,
    CONCAT(region_scheme, ':', region_code) AS region_key,
    -- A type's modifiers are more specific than a region's; left and right together are both sides.
    CASE
      WHEN type_is_bilateral OR (type_is_left AND type_is_right) THEN 'bilateral'
      WHEN type_is_left THEN 'left'
      WHEN type_is_right THEN 'right'
      WHEN region_is_bilateral OR (region_is_left AND region_is_right) THEN 'bilateral'
      WHEN region_is_left THEN 'left'
      WHEN region_is_right THEN 'right'
    END AS laterality
  FROM sided
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
  type_modifier_code,
  region_code,
  region_scheme,
  region_meaning,
  region_modifier_code,
  category_key,
  type_key,
  region_key,
  laterality,
  CONCAT(
    COALESCE(type_key, type_meaning, ''),
    '|',
    COALESCE(category_key, category_meaning, ''),
    '|',
    COALESCE(region_key, region_meaning, ''),
    '|',
    COALESCE(laterality, '')
  ) AS concept_key
FROM keyed
