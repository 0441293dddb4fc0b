-- What a cohort file can ask for, without counts.
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
