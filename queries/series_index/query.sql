-- BigQuery has no series table: one row per series of dicom_all.
SELECT
  @idc_version AS idc_version,
  collection_id,
  ANY_VALUE(analysis_result_id) AS analysis_result_id,
  ANY_VALUE(PatientID) AS PatientID,
  ANY_VALUE(StudyInstanceUID) AS StudyInstanceUID,
  SeriesInstanceUID,
  ANY_VALUE(crdc_series_uuid) AS crdc_series_uuid,
  ANY_VALUE(Modality) AS Modality,
  MIN(SOPClassUID) AS SOPClassUID,
  MIN(TransferSyntaxUID) AS TransferSyntaxUID,
  MIN(SeriesDescription) AS SeriesDescription,
  ANY_VALUE(series_aws_url) AS series_aws_url,
  SUM(instance_size) AS series_size_bytes,
  COUNT(DISTINCT SOPInstanceUID) AS instance_count,
  MIN(license_short_name) AS license_short_name,
  MIN(Source_DOI) AS source_DOI,
  MIN(series_init_idc_version) AS series_init_idc_version,
  MIN(PatientSex) AS PatientSex,
  MIN(PatientAge) AS PatientAge,
  MIN(CAST(StudyDate AS STRING)) AS StudyDate,
  MIN(BodyPartExamined) AS BodyPartExamined,
  MIN(Manufacturer) AS Manufacturer,
  MIN(ManufacturerModelName) AS ManufacturerModelName
FROM dicom_all
GROUP BY collection_id, SeriesInstanceUID
