-- A link to IDC's viewers for each series: OHIF with the images, Slim for slide microscopy.
SELECT
  seg_series_uid,
  CASE
    WHEN source_modality = 'SM'
      THEN CONCAT(
        'https://viewer.imaging.datacommons.cancer.gov/slim/studies/',
        study_uid,
        '/series/',
        source_series_uid
      )
    ELSE CONCAT(
      'https://viewer.imaging.datacommons.cancer.gov/v3/viewer/?StudyInstanceUIDs=',
      study_uid,
      '&SeriesInstanceUIDs=',
      seg_series_uid,
      COALESCE(CONCAT(',', source_series_uid), '')
    )
  END AS viewer_url
FROM series
WHERE idc_version IS NOT NULL
ORDER BY seg_series_uid
