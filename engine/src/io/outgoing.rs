//! One send: a packet, or a train of DATA blocks as headers and slices of the content, in the kernel's form.
//!
//! A train is an iovec of header, payload, header, payload …, with two control messages: the address to leave
//! from, and the size of one datagram (UDP_SEGMENT). The octets of the content are named, never read.

use std::net::IpAddr;

use daybreak_tftp::endpoint::{Path, Train, TransferId};
use daybreak_tftp::wire::HEADER_BYTES;

use super::Content;
use super::address::RawAddress;
use super::control::Control;
use crate::limits;

/// The part of a send that the kernel reads. It points into itself once filled, so it must not move then.
pub(super) struct Outgoing {
    message: libc::msghdr,
    remote: RawAddress,
    control: Control,
    /// Octets of the control messages without the segment size.
    control_single: usize,
    /// The headers of a train; or a packet, which is never longer than they are together.
    headers: Headers,
    segments: [libc::iovec; 2 * limits::TRAIN_BLOCKS_MAX],
}

/// None of them lies on two pages.
#[repr(align(4))]
struct Headers([[u8; HEADER_BYTES]; limits::TRAIN_BLOCKS_MAX]);

/// The part of a send that the driver needs at its end.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) path: Path,
    #[expect(dead_code, reason = "kept alive until the kernel has read it")]
    pub(super) content: Option<Content>,
    /// Whose DATA it is; `None` for a packet.
    pub(super) transfer: Option<TransferId>,
    /// Datagrams in it.
    pub(super) count: u16,
    /// Octets of each datagram but the last.
    pub(super) segment: u16,
    /// Leaves without a copy: the slot is leased until the kernel says that it is done with it.
    pub(super) zero_copy: bool,
}

/// The train does not lie within its content: it must not be sent.
#[derive(Debug)]
pub(super) struct OutOfBounds;

const NO_SEGMENT: libc::iovec = libc::iovec {
    iov_base: std::ptr::null_mut(),
    iov_len: 0,
};

impl Outgoing {
    pub(super) fn new() -> Self {
        Outgoing {
            // SAFETY: `msghdr` is pointers and numbers, for which all zeros is a value.
            message: unsafe { std::mem::zeroed() },
            remote: RawAddress::empty(),
            control: Control::empty(),
            control_single: 0,
            headers: Headers([[0; HEADER_BYTES]; limits::TRAIN_BLOCKS_MAX]),
            segments: [NO_SEGMENT; 2 * limits::TRAIN_BLOCKS_MAX],
        }
    }

    /// Becomes a packet, cut to [`limits::PACKET_BYTES_MAX`]. `source` is the address to leave from where the
    /// socket does not say it.
    pub(super) fn fill_packet(
        &mut self,
        path: &Path,
        source: Option<IpAddr>,
        packet: &[u8],
    ) -> Sending {
        let room = self.headers.0.as_flattened_mut();
        let len = packet.len().min(room.len());
        room[..len].copy_from_slice(&packet[..len]);
        self.segments[0] = libc::iovec {
            iov_base: room.as_mut_ptr().cast(),
            iov_len: len,
        };
        self.address(path, source);
        self.message.msg_iovlen = 1;
        self.message.msg_controllen = self.control_single;
        Sending {
            path: *path,
            content: None,
            transfer: None,
            count: 1,
            segment: 0,
            zero_copy: false,
        }
    }

    /// Becomes a train.
    pub(super) fn fill_train(
        &mut self,
        path: &Path,
        source: Option<IpAddr>,
        train: &Train<'_, Content>,
    ) -> Result<Sending, OutOfBounds> {
        let content = train.file;
        let count = usize::from(train.count);
        if count == 0 || count > limits::TRAIN_BLOCKS_MAX || train.len > content.len() {
            return Err(OutOfBounds);
        }
        let first = content.as_ptr();
        for (position, (header, segments)) in (0..train.count).zip(
            self.headers
                .0
                .iter_mut()
                .zip(self.segments.chunks_exact_mut(2)),
        ) {
            let (octets, range) = train.block(position);
            *header = octets;
            // `block` cuts its range to `train.len`, which lies within the content.
            let start = usize::try_from(range.start).map_err(|_| OutOfBounds)?;
            let len = usize::try_from(range.end - range.start).map_err(|_| OutOfBounds)?;
            segments[0] = libc::iovec {
                iov_base: header.as_mut_ptr().cast(),
                iov_len: HEADER_BYTES,
            };
            segments[1] = libc::iovec {
                iov_base: first.wrapping_add(start).cast_mut().cast(),
                iov_len: len,
            };
        }
        self.address(path, source);
        let segment = train.blksize + HEADER_BYTES as u16;
        self.message.msg_iovlen = 2 * count;
        self.message.msg_controllen = if count > 1 {
            self.control.put_segment(self.control_single, segment)
        } else {
            self.control_single
        };
        Ok(Sending {
            path: *path,
            content: Some(content.clone()),
            transfer: Some(train.transfer),
            count: train.count,
            segment,
            zero_copy: false,
        })
    }

    fn address(&mut self, path: &Path, source: Option<IpAddr>) {
        self.message.msg_namelen = self.remote.set(path.remote);
        self.control_single = source.map_or(0, |source| self.control.put_source(0, source));
    }

    /// The message header, with pointers that are good for as long as this neither moves nor is filled again.
    pub(super) fn post(&mut self) -> *const libc::msghdr {
        self.message.msg_name = (&raw mut self.remote).cast();
        self.message.msg_iov = self.segments.as_mut_ptr();
        self.message.msg_control = match self.message.msg_controllen {
            0 => std::ptr::null_mut(),
            _ => self.control.as_mut_ptr().cast(),
        };
        &raw const self.message
    }

    /// The same train as one message for each block, without the segment size.
    pub(super) fn post_singly(
        &mut self,
        count: u16,
        messages: &mut [libc::mmsghdr; limits::TRAIN_BLOCKS_MAX],
    ) {
        self.post();
        let segments = self.segments.as_mut_ptr();
        for (position, message) in messages.iter_mut().take(usize::from(count)).enumerate() {
            message.msg_hdr = self.message;
            message.msg_hdr.msg_iov = segments.wrapping_add(2 * position);
            message.msg_hdr.msg_iovlen = 2;
            message.msg_hdr.msg_controllen = self.control_single;
            if self.control_single == 0 {
                message.msg_hdr.msg_control = std::ptr::null_mut();
            }
            message.msg_len = 0;
        }
    }
}
