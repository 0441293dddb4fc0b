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
    AND (
      ARRAY_LENGTH(@studies_with) = 0
      OR StudyInstanceUID IN (
        SELECT StudyInstanceUID
        FROM series_index
        WHERE Modality IN UNNEST(@studies_with)
        GROUP BY StudyInstanceUID
        HAVING COUNT(DISTINCT Modality) = ARRAY_LENGTH(@studies_with)
      )
    )
    AND (
      ARRAY_LENGTH(@exclude_studies_with) = 0
      OR StudyInstanceUID NOT IN (
        SELECT StudyInstanceUID
        FROM series_index
        WHERE Modality IN UNNEST(@exclude_studies_with) AND StudyInstanceUID IS NOT NULL
      )
    )
    AND (
      @min_studies = 0
      OR CONCAT(collection_id, '/', PatientID) IN (
        SELECT CONCAT(collection_id, '/', PatientID)
        FROM series_index
        WHERE
          Modality = 'SEG'
          AND (
            SOPClassUID IS NULL
            OR SOPClassUID IN ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7')
          )
        GROUP BY collection_id, PatientID
        HAVING COUNT(DISTINCT StudyInstanceUID) >= @min_studies
      )
    )
    AND (NOT @by_query OR SeriesInstanceUID IN (SELECT seg_series_uid FROM chosen))
),
matched AS (
  SELECT
    seg_series_uid,
    MIN(source_series_uid) AS source_series_uid,
    COUNT(*) AS matching_segments
  FROM matches
  WHERE
    NOT @by_image
    OR source_series_uid IN (SELECT image_series_uid FROM images WHERE @image_filters)
  GROUP BY seg_series_uid
),
-- Series, studies or patients that hold every structure of structures_all; each has a number.
held AS (
  SELECT
    CASE @all_within
      WHEN 'study' THEN wanted.StudyInstanceUID
      WHEN 'patient' THEN CONCAT(wanted.collection_id, '/', wanted.PatientID)
      ELSE wanted.SeriesInstanceUID
    END AS holder
  FROM segment_meanings
  INNER JOIN wanted ON wanted.SeriesInstanceUID = segment_meanings.seg_series_uid
  CROSS JOIN UNNEST(@all_numbers) AS number
  WHERE CONCAT(CAST(number AS STRING), '#', segment_meanings.concept_key) IN UNNEST(@all_of)
  GROUP BY holder
  HAVING COUNT(DISTINCT number) = ARRAY_LENGTH(@all_numbers)
),
joined AS (
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
    matched.matching_segments AS matching_segments,
    CASE @sample_per
      WHEN 'collection_id' THEN wanted.collection_id
      WHEN 'analysis_result_id' THEN wanted.analysis_result_id
      WHEN 'license' THEN wanted.license_short_name
      WHEN 'source_modality' THEN image.Modality
      WHEN 'source_doi' THEN wanted.source_DOI
      WHEN 'sex' THEN wanted.PatientSex
      WHEN 'body_part' THEN wanted.BodyPartExamined
    END AS stratum
  FROM wanted
  LEFT JOIN matched ON matched.seg_series_uid = wanted.SeriesInstanceUID
  LEFT JOIN series_index AS image ON image.SeriesInstanceUID = matched.source_series_uid
  WHERE
    (NOT @by_segment OR matched.seg_series_uid IS NOT NULL)
    AND (
      ARRAY_LENGTH(@all_numbers) = 0
      OR CASE @all_within
        WHEN 'study' THEN wanted.StudyInstanceUID
        WHEN 'patient' THEN CONCAT(wanted.collection_id, '/', wanted.PatientID)
        ELSE wanted.SeriesInstanceUID
      END IN (SELECT holder FROM held)
    )
    -- Without a sample or a limit they come along, so that a plan can name those that are left out.
    AND (
      @with_slides
      OR (@sample_patients = 0 AND @sample_series = 0 AND @max_bytes = 0)
      OR image.Modality IS NULL
      OR image.Modality <> 'SM'
    )
),
sampled AS (
  SELECT *
  FROM joined
  -- MD5 of seed and identifier is the same number on every engine: a sample can be drawn again.
  QUALIFY
    (
      @sample_patients = 0
      OR DENSE_RANK() OVER (
        PARTITION BY stratum
        ORDER BY
          TO_HEX(MD5(CONCAT(CAST(@sample_seed AS STRING), '/', collection_id, '/', patient_id))),
          collection_id,
          patient_id
      ) <= @sample_patients
    )
    AND (
      @sample_series = 0
      OR ROW_NUMBER() OVER (
        PARTITION BY stratum
        ORDER BY TO_HEX(MD5(CONCAT(CAST(@sample_seed AS STRING), '/', seg_series_uid))), seg_series_uid
      ) <= @sample_series
    )
)
SELECT
  idc_version,
  collection_id,
  analysis_result_id,
  patient_id,
  study_uid,
  seg_series_uid,
  crdc_series_uuid,
  series_url,
  size_bytes,
  instance_count,
  sop_class_uid,
  transfer_syntax_uid,
  source_series_uid,
  source_modality,
  license,
  source_doi,
  matching_segments
FROM sampled
QUALIFY
  @max_bytes = 0
  OR SUM(size_bytes) OVER (
    ORDER BY
      TO_HEX(MD5(CONCAT(CAST(@sample_seed AS STRING), '/', collection_id, '/', patient_id))),
      collection_id,
      patient_id,
      TO_HEX(MD5(CONCAT(CAST(@sample_seed AS STRING), '/', seg_series_uid))),
      seg_series_uid
    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
  ) <= @max_bytes
ORDER BY collection_id, patient_id, study_uid, seg_series_uid
