//! Every bound of this crate, and what happens at it.

use core::time::Duration;

/// How far ahead of the wall clock another server's stamp may be to be followed. Beyond it: this clock stays; the edit
/// is taken all the same.
pub const DRIFT_MAX: Duration = Duration::from_secs(60 * 60);
