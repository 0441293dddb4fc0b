-- The SEG objects of dicom_all, with the MD5 of each.
SELECT
  SeriesInstanceUID,
  SOPInstanceUID,
  ANY_VALUE(aws_url) AS aws_url,
  ANY_VALUE(instance_size) AS instance_size,
  ANY_VALUE(instance_hash) AS instance_hash
FROM dicom_all
WHERE SOPClassUID IN ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7')
GROUP BY SeriesInstanceUID, SOPInstanceUID
