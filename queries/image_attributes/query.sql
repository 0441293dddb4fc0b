-- BigQuery has no table of image series: one row per series of dicom_all. Regularity of the slices needs the files.
WITH numbers AS (
  SELECT
    SeriesInstanceUID,
    SAFE_CAST(SliceThickness AS FLOAT64) AS slice_thickness_mm,
    GREATEST(
      SAFE_CAST(PixelSpacing[SAFE_OFFSET(0)] AS FLOAT64),
      SAFE_CAST(PixelSpacing[SAFE_OFFSET(1)] AS FLOAT64)
    ) AS pixel_spacing_mm,
    SAFE_CAST(`Rows` AS INT64) AS row_number,
    SAFE_CAST(`Columns` AS INT64) AS column_number,
    ConvolutionKernel[SAFE_OFFSET(0)] AS kernel,
    SAFE_CAST(KVP AS FLOAT64) AS kvp,
    SAFE_CAST(MagneticFieldStrength AS FLOAT64) AS field_strength_t,
    SequenceName AS sequence_name,
    MRAcquisitionType AS acquisition_type,
    SAFE_CAST(EchoTime AS FLOAT64) AS echo_time_ms,
    SAFE_CAST(RepetitionTime AS FLOAT64) AS repetition_time_ms,
    SAFE_CAST(DiffusionBValue AS FLOAT64) AS b_value,
    ContrastBolusAgent AS contrast_agent
  FROM dicom_images
)
SELECT
  SeriesInstanceUID,
  MIN(slice_thickness_mm) AS slice_thickness_mm,
  MIN(pixel_spacing_mm) AS pixel_spacing_mm,
  MIN(row_number) AS row_count,
  MIN(column_number) AS column_count,
  COALESCE(ARRAY_AGG(DISTINCT kernel IGNORE NULLS ORDER BY kernel), ARRAY<STRING>[]) AS kernels,
  MIN(kvp) AS kvp,
  MIN(field_strength_t) AS field_strength_t,
  MIN(sequence_name) AS sequence_name,
  MIN(acquisition_type) AS acquisition_type,
  COALESCE(ARRAY_AGG(DISTINCT echo_time_ms IGNORE NULLS ORDER BY echo_time_ms), ARRAY<FLOAT64>[]) AS echo_times_ms,
  MIN(repetition_time_ms) AS repetition_time_ms,
  COALESCE(ARRAY_AGG(DISTINCT b_value IGNORE NULLS ORDER BY b_value), ARRAY<FLOAT64>[]) AS b_values,
  CAST(NULL AS STRING) AS radiopharmaceutical,
  COALESCE(ARRAY_AGG(DISTINCT contrast_agent IGNORE NULLS ORDER BY contrast_agent), ARRAY<STRING>[]) AS contrast_agents,
  COUNT(contrast_agent) > 0 AS has_contrast,
  CAST(NULL AS BOOL) AS is_regular,
  CAST(NULL AS FLOAT64) AS slice_spacing_mm,
  CAST(NULL AS FLOAT64) AS obliquity_deg
FROM numbers
GROUP BY SeriesInstanceUID
