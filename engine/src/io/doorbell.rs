//! Wakes a driver from another thread.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

/// Rings in a driver's turn: the turn then ends although nothing arrived. Clones ring the same bell.
#[derive(Clone, Debug)]
pub struct Doorbell(Arc<OwnedFd>);

impl Doorbell {
    /// A bell that nobody listens to yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Doorbell(Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?)))
    }

    /// Rings. Ringing twice before it was heard is ringing once.
    pub fn ring(&self) {
        // It can only fail when the counter is full, and then it rings already.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// Takes note of all rings so far. Blocks when there was none.
    pub(super) fn hear(&self) {
        let _ = rustix::io::read(&*self.0, &mut [0_u8; 8]);
    }

    pub(super) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
