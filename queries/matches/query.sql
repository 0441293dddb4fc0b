-- The segments that all segment-level filters let through. An empty list filters nothing.
SELECT *
FROM segment_meanings
WHERE
  -- The bare code first: engines skip most rows by it, and build keys only for what is left.
  (ARRAY_LENGTH(@structure_codes) = 0 OR type_code IN UNNEST(@structure_codes))
  AND (
    NOT @by_structure
    OR type_key IN UNNEST(@structures)
    OR CONCAT(type_key, '/', laterality) IN UNNEST(@sided_structures)
    OR concept_key IN UNNEST(@structure_concepts)
  )
  AND (ARRAY_LENGTH(@categories) = 0 OR category_key IN UNNEST(@categories))
  AND (ARRAY_LENGTH(@region_codes) = 0 OR region_code IN UNNEST(@region_codes))
  AND (
    ARRAY_LENGTH(@region_codes) = 0
    OR region_key IN UNNEST(@regions)
    OR CONCAT(region_key, '/', laterality) IN UNNEST(@sided_regions)
  )
  AND @segment_filters
