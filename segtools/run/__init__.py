"""Run: batches, executors, the ledger of outcomes, and the pipeline inside a worker."""
