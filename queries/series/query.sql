-- The cohort: one row per segmentation series, with what `fetch` needs and the images it belongs to.
WITH described AS (
  SELECT
    *,
    -- PatientAge is 063Y, 010M, 004W, 020D; some writers leave the unit out, and mean years.
    SAFE_CAST(REGEXP_EXTRACT(PatientAge, '^([0-9]+)[DWMYdwmy]?$') AS FLOAT64)
    / CASE UPPER(SUBSTR(PatientAge, LENGTH(PatientAge), 1))
      WHEN 'D' THEN 365.25
      WHEN 'W' THEN 52.1775
      WHEN 'M' THEN 12.0
      ELSE 1.0
    END AS age_years,
    SUBSTR(CAST(StudyDate AS STRING), 1, 10) AS study_date
  FROM series_index
),
wanted AS (
  SELECT *
  FROM described
  WHERE
    Modality = 'SEG'
    -- Twelve series say SEG and hold CT images. Retired releases state no SOP class.
    AND (
      SOPClassUID IS NULL
      OR SOPClassUID IN ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7')
    )
    AND (NOT @labelmaps_only OR SOPClassUID = '1.2.840.10008.5.1.4.1.1.66.7')
    AND @series_filters
    AND (NOT @by_query OR SeriesInstanceUID IN (SELECT seg_series_uid FROM chosen))
),
matched AS (
  SELECT
    seg_series_uid,
    MIN(source_series_uid) AS source_series_uid,
    COUNT(*) AS matching_segments
  FROM matches
  GROUP BY seg_series_uid
)
SELECT
  wanted.idc_version AS idc_version,
  wanted.collection_id AS collection_id,
  wanted.analysis_result_id AS analysis_result_id,
  wanted.PatientID AS patient_id,
  wanted.StudyInstanceUID AS study_uid,
  wanted.SeriesInstanceUID AS seg_series_uid,
  wanted.crdc_series_uuid AS crdc_series_uuid,
  RTRIM(wanted.series_aws_url, '*') AS series_url,
  wanted.series_size_bytes AS size_bytes,
  wanted.instance_count AS instance_count,
  wanted.SOPClassUID AS sop_class_uid,
  wanted.TransferSyntaxUID AS transfer_syntax_uid,
  matched.source_series_uid AS source_series_uid,
  image.Modality AS source_modality,
  wanted.license_short_name AS license,
  wanted.source_DOI AS source_doi,
  matched.matching_segments AS matching_segments
FROM wanted
LEFT JOIN matched ON matched.seg_series_uid = wanted.SeriesInstanceUID
LEFT JOIN series_index AS image ON image.SeriesInstanceUID = matched.source_series_uid
WHERE
  (NOT @by_segment OR matched.seg_series_uid IS NOT NULL)
  -- Without a sample they come along, so that a plan can name those that are left out.
  AND (
    @with_slides
    OR (@sample_patients = 0 AND @sample_series = 0)
    OR image.Modality IS NULL
    OR image.Modality <> 'SM'
  )
-- MD5 of seed and identifier is the same number on every engine: a sample can be drawn again.
QUALIFY
  (
    @sample_patients = 0
    OR DENSE_RANK() OVER (
      ORDER BY
        TO_HEX(MD5(CONCAT(CAST(@sample_seed AS STRING), '/', wanted.collection_id, '/', wanted.PatientID))),
        wanted.collection_id,
        wanted.PatientID
    ) <= @sample_patients
  )
  AND (
    @sample_series = 0
    OR ROW_NUMBER() OVER (
      ORDER BY
        TO_HEX(MD5(CONCAT(CAST(@sample_seed AS STRING), '/', wanted.SeriesInstanceUID))),
        wanted.SeriesInstanceUID
    ) <= @sample_series
  )
ORDER BY collection_id, patient_id, study_uid, seg_series_uid
