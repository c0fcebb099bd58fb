//! The text mode.
