-- The names that a cohort file can use about series which have segmentations: kind is the key of the file.
WITH seg AS (
  SELECT
    collection_id,
    analysis_result_id,
    license_short_name,
    source_DOI,
    collection_cancerType,
    collection_tumorLocation,
    collection_species
  FROM series_index
  WHERE
    Modality = 'SEG'
    AND (
      SOPClassUID IS NULL
      OR SOPClassUID IN ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7')
    )
),
terms AS (
  SELECT 'collections' AS kind, collection_id AS term FROM seg
  UNION ALL
  SELECT 'analysis_results' AS kind, analysis_result_id AS term FROM seg
  UNION ALL
  SELECT 'licenses' AS kind, license_short_name AS term FROM seg
  UNION ALL
  SELECT 'dois' AS kind, source_DOI AS term FROM seg
  UNION ALL
  SELECT 'cancer_types' AS kind, collection_cancerType AS term FROM seg
  UNION ALL
  SELECT 'tumor_locations' AS kind, collection_tumorLocation AS term FROM seg
  UNION ALL
  SELECT 'species' AS kind, collection_species AS term FROM seg
)
SELECT kind, term, COUNT(*) AS series_count
FROM terms
WHERE term IS NOT NULL
GROUP BY kind, term
ORDER BY kind, term
