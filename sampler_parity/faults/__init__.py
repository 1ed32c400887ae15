"""Mistakes planted in a plain sampler and in the port, which every run must name."""
