-- The matching segments of the cohort's series; exact repetitions of a row (a known trait of IDC's view) are one.
SELECT DISTINCT
  matches.seg_series_uid,
  matches.seg_sop_uid,
  matches.segment_number,
  matches.segmentation_type,
  matches.algorithm_type,
  matches.algorithm_name,
  matches.category_code,
  matches.category_scheme,
  matches.category_meaning,
  matches.type_code,
  matches.type_scheme,
  matches.type_meaning,
  matches.type_modifier_code,
  matches.region_code,
  matches.region_scheme,
  matches.region_meaning,
  matches.region_modifier_code,
  matches.laterality
FROM matches
WHERE matches.seg_series_uid IN (SELECT seg_series_uid FROM series)
ORDER BY seg_series_uid, seg_sop_uid, segment_number
