"""The dataset on disk or in a bucket: layout, lock, transaction, and the load API."""
