-- The names and codes that a cohort file can use, without counts: a scan of the code columns only.
SELECT DISTINCT
  SegmentedPropertyType.CodingSchemeDesignator AS type_scheme,
  SegmentedPropertyType.CodeValue AS type_code,
  SegmentedPropertyType.CodeMeaning AS type_meaning,
  SegmentedPropertyCategory.CodingSchemeDesignator AS category_scheme,
  SegmentedPropertyCategory.CodeValue AS category_code,
  SegmentedPropertyCategory.CodeMeaning AS category_meaning,
  AnatomicRegion.CodingSchemeDesignator AS region_scheme,
  AnatomicRegion.CodeValue AS region_code,
  AnatomicRegion.CodeMeaning AS region_meaning
FROM segmentations
