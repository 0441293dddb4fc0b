-- What can be asked for: the coded meanings that occur, with counts.
SELECT
  type_scheme,
  type_code,
  type_meaning,
  laterality,
  category_scheme,
  category_code,
  category_meaning,
  region_scheme,
  region_code,
  region_meaning,
  COUNT(*) AS segment_count,
  COUNT(DISTINCT seg_series_uid) AS series_count
FROM segment_meanings
GROUP BY
  type_scheme,
  type_code,
  type_meaning,
  laterality,
  category_scheme,
  category_code,
  category_meaning,
  region_scheme,
  region_code,
  region_meaning
ORDER BY
  segment_count DESC,
  type_scheme,
  type_code,
  type_meaning,
  laterality,
  category_scheme,
  category_code,
  category_meaning,
  region_scheme,
  region_code,
  region_meaning
