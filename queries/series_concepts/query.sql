-- The concepts that occur in the cohort's series, whether they match or not.
SELECT DISTINCT
  type_scheme,
  type_code,
  type_meaning,
  category_scheme,
  category_code,
  category_meaning,
  region_scheme,
  region_code,
  region_meaning,
  laterality,
  concept_key
FROM segment_meanings
WHERE seg_series_uid IN (SELECT seg_series_uid FROM series)
