-- The segmentation series, by every identifier that a cohort file can name.
SELECT
  collection_id,
  PatientID,
  StudyInstanceUID,
  SeriesInstanceUID,
  crdc_series_uuid
FROM series_index
WHERE
  Modality = 'SEG'
  AND (
    SOPClassUID IS NULL
    OR SOPClassUID IN ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7')
  )
  AND @series_filters
