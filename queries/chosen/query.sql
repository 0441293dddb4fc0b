-- Stands in for a user's own query where the cohort names none.
SELECT CAST(NULL AS STRING) AS seg_series_uid
FROM UNNEST(ARRAY<INT64>[]) AS nothing
