//! Benchmarks. `benches/` holds criterion's, of the steps that every packet takes: `cargo bench -p daybreak-bench`.
//! `peers` (with the feature of that name) is the comparison against other TFTP servers: `make peers`.
#![forbid(unsafe_code)]

#[cfg(feature = "peers")]
pub mod peers;
