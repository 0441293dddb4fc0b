-- The objects of the cohort's series, with what their bytes must be.
SELECT
  SeriesInstanceUID AS seg_series_uid,
  aws_url AS url,
  instance_size AS size_bytes,
  instance_hash AS md5,
  SOPInstanceUID AS sop_uid
FROM instances
WHERE SeriesInstanceUID IN (SELECT seg_series_uid FROM series)
ORDER BY seg_series_uid, url
