//! What the process wants of its workers.

use std::sync::atomic::{AtomicU8, Ordering};

/// An order. Each outdoes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Order {
    /// Serve.
    Serve,
    /// Take no new transfer, and end when the running ones have.
    Drain,
    /// Tell the clients of running transfers, and end.
    ShutDown,
}

/// The order in force, for all workers. Ring their doorbells after a change.
#[derive(Debug, Default)]
pub struct Orders(AtomicU8);

impl Orders {
    /// Gives an order; one that was outdone already changes nothing.
    pub fn give(&self, order: Order) {
        self.0.fetch_max(order as u8, Ordering::Release);
    }

    /// The order in force.
    #[must_use]
    pub fn now(&self) -> Order {
        match self.0.load(Ordering::Acquire) {
            0 => Order::Serve,
            1 => Order::Drain,
            _ => Order::ShutDown,
        }
    }
}
