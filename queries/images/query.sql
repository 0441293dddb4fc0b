-- The image series, with what IDC's indexes say of how they were made.
SELECT
  series_index.SeriesInstanceUID AS image_series_uid,
  series_index.Modality AS modality,
  series_index.SeriesDescription AS series_description,
  series_index.Manufacturer AS manufacturer,
  series_index.ManufacturerModelName AS model,
  series_index.BodyPartExamined AS body_part,
  series_index.instance_count AS instance_count,
  image_attributes.slice_thickness_mm AS slice_thickness_mm,
  image_attributes.pixel_spacing_mm AS pixel_spacing_mm,
  image_attributes.row_count AS row_count,
  image_attributes.column_count AS column_count,
  image_attributes.kernels AS kernels,
  image_attributes.kvp AS kvp,
  image_attributes.field_strength_t AS field_strength_t,
  image_attributes.sequence_name AS sequence_name,
  image_attributes.acquisition_type AS acquisition_type,
  image_attributes.echo_times_ms AS echo_times_ms,
  image_attributes.repetition_time_ms AS repetition_time_ms,
  image_attributes.b_values AS b_values,
  image_attributes.radiopharmaceutical AS radiopharmaceutical,
  image_attributes.contrast_agents AS contrast_agents,
  image_attributes.has_contrast AS has_contrast,
  image_attributes.is_regular AS is_regular,
  image_attributes.slice_spacing_mm AS slice_spacing_mm,
  image_attributes.obliquity_deg AS obliquity_deg
FROM series_index
LEFT JOIN image_attributes ON image_attributes.SeriesInstanceUID = series_index.SeriesInstanceUID
WHERE series_index.Modality <> 'SEG'
