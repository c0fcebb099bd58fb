//! A socket of a DHCP server: on one network interface, seeing what is sent to everybody.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use socket2::{Domain, MsgHdr, Protocol, SockAddr, Type};

use super::address::RawAddress;
use super::control::Control;
use super::socket::set;
use crate::limits;

/// See the module.
#[derive(Debug)]
pub struct LinkSocket {
    inner: socket2::Socket,
}

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkDatagram {
    /// Its octets; what did not fit is cut off.
    pub len: usize,
    /// From where.
    pub source: SocketAddrV4,
    /// The address that it was sent to.
    pub destination: Ipv4Addr,
    /// Our own address on that network.
    pub local: Ipv4Addr,
}

impl LinkSocket {
    /// Binds on an interface alone. `shared`: others may have the port, too, if they say so as well; what is sent to everybody,
    /// all of them get.
    ///
    /// # Errors
    /// Those of socket(2), setsockopt(2) (ENODEV: no such interface) and bind(2).
    pub fn bind(interface: &str, address: SocketAddrV4, shared: bool) -> io::Result<Self> {
        let inner = socket2::Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        inner.bind_device(Some(interface.as_bytes()))?;
        inner.set_reuse_address(shared)?;
        inner.set_broadcast(true)?;
        inner.set_nonblocking(true)?;
        // Less than asked for costs questions in a flood, which come again.
        let _ = inner.set_recv_buffer_size(limits::DHCP_RECEIVE_BYTES);
        set(&inner, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        inner.bind(&address.into())?;
        Ok(LinkSocket { inner })
    }

    /// Takes the next datagram; `None`: it has no address that could be answered.
    ///
    /// # Errors
    /// Those of recvmsg(2); [`io::ErrorKind::WouldBlock`]: there is none.
    pub fn receive(&self, room: &mut [u8]) -> io::Result<Option<LinkDatagram>> {
        let mut segment = libc::iovec {
            iov_base: room.as_mut_ptr().cast(),
            iov_len: room.len(),
        };
        let (mut sender, mut control) = (RawAddress::empty(), Control::empty());
        // SAFETY: `msghdr` is pointers and numbers, for which all zeros is a value.
        let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_name = (&raw mut sender).cast();
        message.msg_namelen = RawAddress::BYTES;
        message.msg_iov = &raw mut segment;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = Control::BYTES as _;
        // SAFETY: the header points to `sender`, `segment`, `room` and `control`, which live through the call, with their lengths.
        let len = unsafe { libc::recvmsg(self.inner.as_raw_fd(), &raw mut message, 0) };
        let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
        #[allow(
            clippy::unnecessary_cast,
            reason = "the libcs give this length different types"
        )]
        let arrival = control.arrival(message.msg_controllen as usize);
        let (Some(SocketAddr::V4(source)), Some(arrival)) =
            (sender.get(message.msg_namelen), arrival)
        else {
            return Ok(None);
        };
        let (IpAddr::V4(destination), IpAddr::V4(local)) = (arrival.destination, arrival.local)
        else {
            return Ok(None);
        };
        Ok(Some(LinkDatagram {
            len,
            source,
            destination,
            local,
        }))
    }

    /// Sends from one of our addresses.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn send(&self, octets: &[u8], to: SocketAddrV4, from: Ipv4Addr) -> io::Result<()> {
        let mut control = Control::empty();
        let len = control.put_source(0, from.into());
        let to = SockAddr::from(to);
        let buffers = [io::IoSlice::new(octets)];
        let message = MsgHdr::new()
            .with_addr(&to)
            .with_buffers(&buffers)
            .with_control(control.written(len));
        self.inner.sendmsg(&message, 0).map(drop)
    }
}

impl AsFd for LinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}
