-- What changed between two IDC releases: series added, revised (same UID, other bytes) or retired.
WITH old_seg AS (
  SELECT collection_id, PatientID, SeriesInstanceUID, crdc_series_uuid, series_size_bytes
  FROM series_before
  WHERE
    Modality = 'SEG'
    AND (
      SOPClassUID IS NULL
      OR SOPClassUID IN ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7')
    )
),
new_seg AS (
  SELECT collection_id, PatientID, SeriesInstanceUID, crdc_series_uuid, series_size_bytes
  FROM series_after
  WHERE
    Modality = 'SEG'
    AND (
      SOPClassUID IS NULL
      OR SOPClassUID IN ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7')
    )
)
SELECT
  CASE
    WHEN old_seg.SeriesInstanceUID IS NULL THEN 'added'
    WHEN new_seg.SeriesInstanceUID IS NULL THEN 'retired'
    ELSE 'revised'
  END AS change,
  COALESCE(new_seg.collection_id, old_seg.collection_id) AS collection_id,
  COALESCE(new_seg.PatientID, old_seg.PatientID) AS patient_id,
  COALESCE(new_seg.SeriesInstanceUID, old_seg.SeriesInstanceUID) AS seg_series_uid,
  old_seg.crdc_series_uuid AS old_crdc_series_uuid,
  new_seg.crdc_series_uuid AS crdc_series_uuid,
  new_seg.series_size_bytes AS size_bytes
FROM old_seg
FULL OUTER JOIN new_seg ON new_seg.SeriesInstanceUID = old_seg.SeriesInstanceUID
WHERE
  old_seg.SeriesInstanceUID IS NULL
  OR new_seg.SeriesInstanceUID IS NULL
  OR old_seg.crdc_series_uuid <> new_seg.crdc_series_uuid
ORDER BY change, collection_id, patient_id, seg_series_uid
