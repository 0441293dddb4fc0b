-- The names and codes that a cohort file can use, without counts: a scan of the code columns only.
SELECT DISTINCT
  type_scheme,
  type_code,
  type_meaning,
  category_scheme,
  category_code,
  category_meaning,
  region_scheme,
  region_code,
  region_meaning
FROM coded_segments
