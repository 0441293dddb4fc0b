-- The image series that the cohort's segmentations belong to.
SELECT
  image.collection_id AS collection_id,
  image.PatientID AS patient_id,
  image.StudyInstanceUID AS study_uid,
  image.SeriesInstanceUID AS source_series_uid,
  image.Modality AS modality,
  image.crdc_series_uuid AS crdc_series_uuid,
  RTRIM(image.series_aws_url, '*') AS series_url,
  image.series_size_bytes AS size_bytes,
  image.instance_count AS instance_count,
  image.license_short_name AS license
FROM series_index AS image
WHERE image.SeriesInstanceUID IN (SELECT source_series_uid FROM series WHERE source_series_uid IS NOT NULL)
ORDER BY collection_id, patient_id, study_uid, source_series_uid
