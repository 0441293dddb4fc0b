"""Benchmarks: phantoms, and us beside the peers. `python -m benchmarks` runs them all."""
