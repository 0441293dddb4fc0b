"""A made-up archive, for the demo, tests and benchmarks."""
