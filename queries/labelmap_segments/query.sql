-- Label maps (SOP class 66.7), which IDC's `segmentations` leaves out, from the instance table itself.
SELECT
  dicom_all.SeriesInstanceUID AS seg_series_uid,
  dicom_all.SOPInstanceUID AS seg_sop_uid,
  segment.SegmentNumber AS segment_number,
  dicom_all.ReferencedSeriesSequence[SAFE_OFFSET(0)].SeriesInstanceUID AS source_series_uid,
  'LABELMAP' AS segmentation_type,
  segment.SegmentAlgorithmType AS algorithm_type,
  segment.SegmentAlgorithmName[SAFE_OFFSET(0)] AS algorithm_name,
  segment.SegmentedPropertyCategoryCodeSequence[SAFE_OFFSET(0)].CodeValue AS category_code,
  segment.SegmentedPropertyCategoryCodeSequence[SAFE_OFFSET(0)].CodingSchemeDesignator AS category_scheme,
  segment.SegmentedPropertyCategoryCodeSequence[SAFE_OFFSET(0)].CodeMeaning AS category_meaning,
  segment.SegmentedPropertyTypeCodeSequence[SAFE_OFFSET(0)].CodeValue AS type_code,
  segment.SegmentedPropertyTypeCodeSequence[SAFE_OFFSET(0)].CodingSchemeDesignator AS type_scheme,
  segment.SegmentedPropertyTypeCodeSequence[SAFE_OFFSET(0)].CodeMeaning AS type_meaning,
  segment.AnatomicRegionSequence[SAFE_OFFSET(0)].CodeValue AS region_code,
  segment.AnatomicRegionSequence[SAFE_OFFSET(0)].CodingSchemeDesignator AS region_scheme,
  segment.AnatomicRegionSequence[SAFE_OFFSET(0)].CodeMeaning AS region_meaning,
  segment.SegmentedPropertyTypeCodeSequence[SAFE_OFFSET(0)].SegmentedPropertyTypeModifierCodeSequence[SAFE_OFFSET(0)].CodeValue AS first_modifier_code,
  segment.SegmentedPropertyTypeCodeSequence[SAFE_OFFSET(0)].SegmentedPropertyTypeModifierCodeSequence[SAFE_OFFSET(0)].CodingSchemeDesignator AS first_modifier_scheme,
  segment.SegmentedPropertyTypeCodeSequence[SAFE_OFFSET(0)].SegmentedPropertyTypeModifierCodeSequence[SAFE_OFFSET(1)].CodeValue AS second_modifier_code,
  segment.SegmentedPropertyTypeCodeSequence[SAFE_OFFSET(0)].SegmentedPropertyTypeModifierCodeSequence[SAFE_OFFSET(1)].CodingSchemeDesignator AS second_modifier_scheme,
  CAST(NULL AS STRING) AS type_region_modifier_code,
  CAST(NULL AS STRING) AS type_region_modifier_scheme,
  segment.AnatomicRegionSequence[SAFE_OFFSET(0)].AnatomicRegionModifierSequence[SAFE_OFFSET(0)].CodeValue AS region_modifier_code,
  segment.AnatomicRegionSequence[SAFE_OFFSET(0)].AnatomicRegionModifierSequence[SAFE_OFFSET(0)].CodingSchemeDesignator AS region_modifier_scheme
FROM dicom_all
CROSS JOIN UNNEST(dicom_all.SegmentSequence) AS segment
WHERE dicom_all.SOPClassUID = '1.2.840.10008.5.1.4.1.1.66.7'
