"""How a batch reaches a worker and its answer comes back: in line, threads, processes, Dask."""
