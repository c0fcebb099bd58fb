//! A client by hand: single datagrams, so that a test decides what is sent, when, and whether at all.
//!
//! It does only what a well-behaved client does not; what one does is `daybreak_tftp::download`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use daybreak_tftp::wire::{self, BlockNumber, Packet};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

const DATAGRAM_BYTES_MAX: usize = 65_507;
const BLOCK_BYTES: usize = 512;

/// A socket, and the server it talks to.
#[derive(Debug)]
pub struct RawClient {
    socket: UdpSocket,
    server: SocketAddr,
}

impl RawClient {
    /// A client on a port of its own.
    ///
    /// # Panics
    /// If there is no port.
    #[must_use]
    pub fn new(server: SocketAddr) -> RawClient {
        let local = if server.is_ipv6() {
            IpAddr::from(Ipv6Addr::LOCALHOST)
        } else {
            Ipv4Addr::LOCALHOST.into()
        };
        RawClient::of(local, server)
    }

    /// One with an address of its own: who asks for the same again and again, thousands of times, would come to a port from
    /// which the same was just asked, and a server takes that for a late duplicate.
    ///
    /// # Panics
    /// If the address is not on loopback, or there is no port.
    #[must_use]
    pub fn of(local: IpAddr, server: SocketAddr) -> RawClient {
        let socket = UdpSocket::bind((local, 0)).expect("a port on loopback");
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a time above zero");
        RawClient { socket, server }
    }

    /// Sends a datagram to the server's listening port.
    ///
    /// # Panics
    /// If the kernel refuses it.
    pub fn send(&self, datagram: &[u8]) {
        self.socket
            .send_to(datagram, self.server)
            .expect("a datagram on loopback");
    }

    /// The next datagram and where it came from; `None` if none comes within the patience.
    #[must_use]
    pub fn receive(&self) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let (len, from) = self.socket.recv_from(&mut buffer).ok()?;
        buffer.truncate(len);
        Some((buffer, from))
    }

    /// Asks for a file without options, and stops after its first block.
    ///
    /// # Panics
    /// If the answer is not that block.
    #[must_use]
    pub fn hold(self, name: &str) -> HeldTransfer {
        self.try_hold(name).unwrap_or_else(|answer| {
            panic!("not the first block: {:?}", Packet::parse(&answer));
        })
    }

    /// The same; or what was answered instead of that block.
    ///
    /// # Errors
    /// That answer.
    ///
    /// # Panics
    /// If there is none.
    pub fn try_hold(self, name: &str) -> Result<HeldTransfer, Vec<u8>> {
        let mut request = [0; BLOCK_BYTES];
        let len = wire::emit_request(name.as_bytes(), "octet", &[], &mut request);
        self.send(&request[..len.expect("a request fits")]);
        let (datagram, from) = self.receive().expect("an answer to a request");
        let Ok(Packet::Data(BlockNumber(1), payload)) = Packet::parse(&datagram) else {
            return Err(datagram);
        };
        Ok(HeldTransfer {
            content: payload.to_vec(),
            client: self,
            from,
        })
    }
}

/// A transfer that waits for the test, with the server waiting for the ACK of its first block.
#[derive(Debug)]
pub struct HeldTransfer {
    client: RawClient,
    from: SocketAddr,
    content: Vec<u8>,
}

impl HeldTransfer {
    /// Takes the rest of the file, block by block.
    ///
    /// # Panics
    /// If the server sends anything but the next block, or one that it had sent.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let mut have = 1_u16;
        while self.content.len() == usize::from(have) * BLOCK_BYTES {
            self.acknowledge(have);
            have += 1;
            self.content.extend(self.block(have));
        }
        self.acknowledge(have);
        self.content
    }

    fn acknowledge(&self, number: u16) {
        let ack = wire::emit_ack(BlockNumber(number));
        self.client
            .socket
            .send_to(&ack, self.from)
            .expect("a datagram on loopback");
    }

    /// The payload of one block; what was sent again while the test was busy is passed over.
    fn block(&self, number: u16) -> Vec<u8> {
        loop {
            let (datagram, from) = self.client.receive().expect("the next block");
            assert_eq!(from, self.from, "a transfer comes from one port");
            match Packet::parse(&datagram) {
                Ok(Packet::Data(BlockNumber(got), payload)) if got == number => {
                    return payload.to_vec();
                }
                Ok(Packet::Data(BlockNumber(got), _)) if got < number => {}
                other => panic!("not block {number}: {other:?}"),
            }
        }
    }
}
