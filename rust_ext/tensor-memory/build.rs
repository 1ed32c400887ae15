//! Says whether the Python that is compiled for has a lock of its interpreter.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
