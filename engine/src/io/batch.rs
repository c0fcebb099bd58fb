//! Reading many datagrams of one socket with one system call (`recvmmsg`).

use std::io;

use daybreak_tftp::endpoint::{Path, SocketId};

use super::counters::{Counters, receive_error_passes};
use super::incoming::{Arrived, Incoming};
use super::socket::Socket;
use crate::limits;

/// Buffers for [`limits::RECEIVE_BATCH`] datagrams. The kernel uses them during a call only.
pub(super) struct Batch {
    incoming: Box<[Incoming]>,
    messages: Box<[libc::mmsghdr]>,
}

impl Batch {
    pub(super) fn new() -> Self {
        // SAFETY: `mmsghdr` is pointers and numbers, for which all zeros is a value.
        let message = || unsafe { std::mem::zeroed() };
        Batch {
            incoming: (0..limits::RECEIVE_BATCH)
                .map(|_| Incoming::new())
                .collect(),
            messages: (0..limits::RECEIVE_BATCH).map(|_| message()).collect(),
        }
    }

    /// Delivers what waits at a socket, up to [`limits::RECEIVE_BATCHES_MAX`] batches; how many datagrams.
    pub(super) fn drain(
        &mut self,
        id: SocketId,
        socket: &Socket,
        counters: &mut Counters,
        deliver: &mut dyn FnMut(Path, &[u8]),
    ) -> io::Result<usize> {
        let mut total = 0;
        for _ in 0..limits::RECEIVE_BATCHES_MAX {
            let count = self.receive(socket, counters)?;
            for (incoming, message) in self.incoming.iter_mut().zip(&self.messages[..count]) {
                incoming.take_header(&message.msg_hdr);
                match incoming.arrived(id, message.msg_len as usize) {
                    Arrived::Datagram(path, bytes) => {
                        counters.datagrams_received += 1;
                        deliver(path, bytes);
                    }
                    Arrived::Ignored => counters.datagrams_ignored += 1,
                }
            }
            total += count;
            if count < limits::RECEIVE_BATCH {
                break;
            }
        }
        Ok(total)
    }

    fn receive(&mut self, socket: &Socket, counters: &mut Counters) -> io::Result<usize> {
        for (incoming, message) in self.incoming.iter_mut().zip(&mut self.messages) {
            // SAFETY: `post` gives a pointer to a header inside `incoming`, which is not moved before the call.
            message.msg_hdr = unsafe { *incoming.post() };
            message.msg_len = 0;
        }
        // SAFETY: every header points to the buffers of one `Incoming` each, which live and stay in
        // their box through the call; the count is that of the headers.
        let count = unsafe {
            libc::recvmmsg(
                socket.fd(),
                self.messages.as_mut_ptr(),
                self.messages.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if let Ok(count) = usize::try_from(count) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        let errno = error.raw_os_error().unwrap_or(0);
        if !matches!(errno, libc::EAGAIN | libc::EINTR) {
            counters.receive_errors += 1;
            receive_error_passes(errno)?;
        }
        Ok(0)
    }
}
