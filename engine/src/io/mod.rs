//! Sockets and the kernel: the only place of this crate with `unsafe`.
//!
//! A [`Driver`] carries datagrams between the sockets of one worker and its protocol core, turn by turn. One turn
//! submits everything that was queued, waits, and delivers everything that has arrived: so one wake-up handles all
//! there is, and all answers leave together. Two drivers stand behind the trait, and more can: nothing in it
//! says how a datagram is received or where its buffer lies.
//!
//! - [`Uring`]: tokio-uring as the executor, with our own receive and send operations on its ring.
//! - [`Portable`]: epoll, `recvmmsg` and `sendmmsg`, for kernels and containers without io_uring.
//!
//! Invariants: memory that the kernel may touch is never moved, reused or freed before the operation on it has
//! completed; the octets of a content are named to the kernel and never read here; nothing is allocated per datagram.

mod address;
mod arena;
mod batch;
mod buffers;
mod content;
mod control;
mod counters;
mod doorbell;
mod filter;
mod incoming;
mod link;
mod multishot;
mod offload;
mod outgoing;
mod portable;
mod queue;
mod ready;
#[cfg(test)]
mod refusal_tests;
mod ring;
mod socket;
mod uring;
mod zero_copy;

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use daybreak_tftp::Time;
use daybreak_tftp::endpoint::{Path, Train, TransferId};

pub use content::Content;
pub use counters::{Counters, SendError};
pub use doorbell::Doorbell;
pub use filter::{Refusals, install_filter};
pub use link::{LinkDatagram, LinkSocket};
pub use multishot::{Multishot, supported};
pub use portable::Portable;
pub use ring::{RingError, probe, start};
pub use socket::{CutShort, Sharing, Socket, SocketOptions};
pub use uring::Uring;

use crate::clock::Clock;

/// What every driver is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The sockets; their positions are the [`SocketId`](daybreak_tftp::endpoint::SocketId)s.
    pub sockets: Arc<[Socket]>,
    /// Ends a turn early.
    pub doorbell: Doorbell,
    /// The clock that deadlines are given in.
    pub clock: Clock,
    /// Whether trains leave without a copy in the kernel, where the driver can ([`Multishot`] alone).
    pub zero_copy: bool,
}

/// A send that cannot succeed by being repeated: its transfer must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whose.
    pub transfer: TransferId,
    /// Why: [`SendError::Fault`] or [`SendError::TooBig`].
    pub error: SendError,
}

/// Carries the datagrams of one worker.
#[expect(
    async_fn_in_trait,
    reason = "a driver stays on the thread that made it: no future of it is sent"
)]
pub trait Driver {
    /// One turn: submits what is queued; waits until a datagram has arrived, `deadline` has passed, the
    /// doorbell rang, or there is room again after there was none; gives every datagram that has arrived to
    /// `deliver`. It may end without any of these.
    ///
    /// # Errors
    /// The driver cannot work any more.
    async fn turn(
        &mut self,
        deadline: Option<Time>,
        deliver: &mut dyn FnMut(Path, &[u8]),
    ) -> io::Result<()>;

    /// Whether one more send may be queued.
    fn has_room(&self) -> bool;

    /// Queues a packet that is not DATA. Only when there is room; otherwise it is dropped, and counted.
    fn send_packet(&mut self, path: Path, packet: &[u8]);

    /// Queues a train. As above.
    fn send_train(&mut self, path: Path, train: &Train<'_, Content>);

    /// The next send that failed for good.
    fn next_failure(&mut self) -> Option<Failure>;

    /// What happened since the start.
    fn counters(&self) -> &Counters;

    /// Submits what is queued and waits, within a bound, until nothing is in flight.
    async fn close(&mut self);
}

/// Runs a future that never waits: that of a driver whose turns block in the kernel instead.
///
/// # Panics
/// If the future does wait.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let future = std::pin::pin!(future);
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => {
            panic!("a turn of this driver blocks in the kernel: its future cannot wait")
        }
    }
}
