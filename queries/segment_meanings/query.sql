-- One flat row per segment: what it means, on which side it lies, who made it.
WITH sided AS (
  SELECT
    *,
    CONCAT(first_modifier_scheme, ':', first_modifier_code) AS side_1,
    CONCAT(second_modifier_scheme, ':', second_modifier_code) AS side_2,
    CONCAT(type_region_modifier_scheme, ':', type_region_modifier_code) AS side_3,
    CONCAT(region_modifier_scheme, ':', region_modifier_code) AS side_4
  FROM coded_segments
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
  first_modifier_code AS type_modifier_code,
  region_code,
  region_scheme,
  region_meaning,
  region_modifier_code,
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
