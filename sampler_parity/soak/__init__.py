"""A soak: cases without end, spent where decisions are close, on the workers of a Dask cluster."""
