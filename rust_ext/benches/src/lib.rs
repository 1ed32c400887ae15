//! Nothing: Cargo wants a library beside a benchmark.
