"""Who answers a query: DuckDB over Parquet (package, mirror, own index), or BigQuery."""
