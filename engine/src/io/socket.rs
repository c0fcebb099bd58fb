//! UDP sockets as the engine needs them: reporting the address asked, with buffers that hold a storm.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use daybreak_tftp::endpoint::Path;
use socket2::{Domain, Protocol, Type};

/// How a socket is set up.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Receive buffer, in octets.
    pub receive_bytes: usize,
    /// Send buffer, in octets.
    pub send_bytes: usize,
    /// Forbid routers, and ourselves, to fragment.
    pub dont_fragment: bool,
}

/// Who else may be bound to the same address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody: for a transfer socket.
    Alone,
    /// Nobody now, and later the listeners of our other workers. So a second engine on the same port is told
    /// that it is in use, instead of taking half of the requests.
    First,
    /// The other workers' listeners, which are there already.
    Follower,
}

/// A buffer that the kernel made smaller than asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutShort {
    /// The sysctl that bounds it.
    pub sysctl: &'static str,
    /// Octets asked.
    pub asked: usize,
    /// Octets granted.
    pub granted: usize,
}

/// A bound UDP socket.
#[derive(Debug)]
pub struct Socket {
    inner: socket2::Socket,
    local: SocketAddr,
}

impl Socket {
    /// Binds, with port 0 for one that the kernel chooses; and says which buffers were cut short.
    ///
    /// # Errors
    /// Those of socket(2), setsockopt(2) and bind(2).
    pub fn bind(
        address: SocketAddr,
        sharing: Sharing,
        options: &SocketOptions,
    ) -> io::Result<(Socket, Vec<CutShort>)> {
        let inner = socket2::Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        let discovery = |dont, probe| if options.dont_fragment { probe } else { dont };
        match address {
            SocketAddr::V4(_) => {
                set(&inner, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
                let discovery = discovery(libc::IP_PMTUDISC_DONT, libc::IP_PMTUDISC_DO);
                set(&inner, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, discovery)?;
            }
            SocketAddr::V6(_) => {
                inner.set_only_v6(true)?;
                set(&inner, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
                let discovery = discovery(libc::IPV6_PMTUDISC_DONT, libc::IPV6_PMTUDISC_DO);
                set(
                    &inner,
                    libc::IPPROTO_IPV6,
                    libc::IPV6_MTU_DISCOVER,
                    discovery,
                )?;
            }
        }
        let cut_short = set_buffers(&inner, options)?;
        if sharing == Sharing::Follower {
            inner.set_reuse_port(true)?;
        }
        inner.bind(&address.into())?;
        if sharing == Sharing::First {
            inner.set_reuse_port(true)?;
        }
        let local = inner
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::Unsupported)?;
        Ok((Socket { inner, local }, cut_short))
    }

    /// The address it is bound to, with the real port.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Datagrams that the kernel dropped because the receive buffer was full.
    #[must_use]
    pub fn drops(&self) -> u32 {
        // SK_MEMINFO_DROPS of `linux/sock_diag.h`, the last of its nine numbers.
        const DROPS: usize = 8;
        let mut numbers = [0_u32; DROPS + 1];
        let mut len = size_of_val(&numbers) as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` octets to `numbers`, which has that many.
        let result = unsafe {
            libc::getsockopt(
                self.fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                numbers.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        if result == 0 && len as usize == size_of_val(&numbers) {
            numbers[DROPS]
        } else {
            0
        }
    }

    /// The address that a reply must be told to leave from; `None` where the socket has one only.
    pub(super) fn source(&self, path: &Path) -> Option<IpAddr> {
        path.local.filter(|local| {
            self.local.ip().is_unspecified() && local.is_ipv4() == self.local.is_ipv4()
        })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

pub(super) fn set(socket: &socket2::Socket, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the kernel reads as many octets as `value` has.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sets both buffers, beyond the sysctl's bound where we may (CAP_NET_ADMIN).
fn set_buffers(socket: &socket2::Socket, options: &SocketOptions) -> io::Result<Vec<CutShort>> {
    use rustix::net::sockopt;
    let mut cut_short = Vec::new();
    // The kernel doubles what it is asked, for its own bookkeeping, and reports the double.
    if sockopt::set_socket_recv_buffer_size_force(socket, options.receive_bytes).is_err() {
        socket.set_recv_buffer_size(options.receive_bytes)?;
    }
    let granted = socket.recv_buffer_size()? / 2;
    if granted < options.receive_bytes {
        let asked = options.receive_bytes;
        cut_short.push(CutShort {
            sysctl: "net.core.rmem_max",
            asked,
            granted,
        });
    }
    if sockopt::set_socket_send_buffer_size_force(socket, options.send_bytes).is_err() {
        socket.set_send_buffer_size(options.send_bytes)?;
    }
    let granted = socket.send_buffer_size()? / 2;
    if granted < options.send_bytes {
        let asked = options.send_bytes;
        cut_short.push(CutShort {
            sysctl: "net.core.wmem_max",
            asked,
            granted,
        });
    }
    Ok(cut_short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    /// A listener with a receive buffer of so many octets, and who sends to it.
    fn listener(receive_bytes: usize) -> (Socket, Vec<CutShort>, std::net::UdpSocket) {
        let options = SocketOptions {
            receive_bytes,
            send_bytes: 1 << 20,
            dont_fragment: false,
        };
        let address = "127.0.0.1:0".parse().unwrap();
        let (socket, cut_short) = Socket::bind(address, Sharing::Alone, &options).unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(socket.local()).unwrap();
        (socket, cut_short, sender)
    }

    const REQUEST: &[u8] =
        b"\0\x01boot/52-54-00-12-34-56.ipxe\0octet\0tsize\x000\0blksize\x001428\0windowsize\x0016\0";

    #[test]
    fn what_the_kernel_drops_is_counted() {
        let (socket, _, sender) = listener(4096);
        for _ in 0..200 {
            sender.send(REQUEST).unwrap();
        }
        assert!(socket.drops() > 100, "{}", socket.drops());
    }

    #[test]
    fn the_buffer_of_a_listener_holds_a_storm_of_ten_thousand_requests() {
        let (socket, cut_short, sender) = listener(limits::LISTENER_RECEIVE_BYTES);
        // Without the right to a larger one, the engine has named the sysctl.
        if cut_short
            .iter()
            .any(|cut| cut.sysctl == "net.core.rmem_max")
        {
            return;
        }
        for _ in 0..10_000 {
            sender.send(REQUEST).unwrap();
        }
        assert_eq!(socket.drops(), 0);
    }
}
