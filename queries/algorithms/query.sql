-- The algorithms that made segments, the most productive first.
SELECT
  algorithm_name,
  algorithm_type,
  COUNT(*) AS segment_count,
  COUNT(DISTINCT seg_series_uid) AS series_count
FROM coded_segments
GROUP BY algorithm_name, algorithm_type
ORDER BY segment_count DESC, algorithm_name, algorithm_type
