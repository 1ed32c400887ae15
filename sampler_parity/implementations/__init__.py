"""The built-in implementations; the only modules that know ``python_ref`` and ``rust_ext``."""
