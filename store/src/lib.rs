//! The shared on-disk store.
