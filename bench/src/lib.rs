//! Benchmarks. `benches/` holds criterion's, of the steps that every packet takes: `cargo bench -p daybreak-bench`.
#![forbid(unsafe_code)]
