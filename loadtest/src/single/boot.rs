//! One boot of a single client: file by file from the first server that answers, kept in memory.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use daybreak_tftp::Time;
use daybreak_tftp::download::{Download, LocalPort, Outcome, Profile};
use daybreak_tftp::limits::REQUEST_BYTES_MAX;
use daybreak_tftp::wire::{ErrorCode, OptionKind, emit_error, emit_request};

use crate::limits::{DATAGRAM_BYTES_MAX, MEMORY_BYTES_MAX, PROBE_PATIENCE};

/// A client, as far as its network goes.
#[derive(Debug)]
pub struct Booting {
    /// What it is like.
    pub profile: Arc<Profile>,
    /// In the order in which they are tried.
    pub servers: Vec<SocketAddr>,
    /// The address that it sends from; the system's choice, if it is no address of this machine.
    pub from: Option<Ipv4Addr>,
    /// Times through the list of servers before it gives up; none: it never does.
    pub rounds: Option<u32>,
}

/// A file in memory.
#[derive(Debug)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub octets: Vec<u8>,
    /// Its hash when it arrived.
    pub blake3: blake3::Hash,
    /// Who served it.
    pub server: SocketAddr,
    /// How long that took, from the request to that server.
    pub took: Duration,
}

/// What a boot brought.
#[derive(Debug)]
pub struct Booted {
    /// In order.
    pub files: Vec<Kept>,
    /// Times that it went on to another server.
    pub moves: u32,
    /// What these cost: the time spent on servers that did not answer.
    pub waited: Duration,
}

/// What there is to say on the way.
#[derive(Debug)]
pub enum News<'a> {
    /// A file has arrived.
    Arrived(&'a Kept),
    /// A server did not answer for so long; the next one is asked.
    Silent(SocketAddr, Duration),
}

/// How a fetch ended, if not with the file.
enum Missed {
    Silent,
    Refused(ErrorCode),
    Broken(String),
}

impl Booting {
    /// Boots.
    ///
    /// # Errors
    /// A file that a server refuses, a rule that it breaks, no answer for all rounds, or `stop`.
    pub fn run(
        &self,
        names: &[String],
        say: &mut dyn FnMut(News<'_>),
        stop: &dyn Fn() -> bool,
    ) -> Result<Booted> {
        let mut booted = Booted {
            files: Vec::new(),
            moves: 0,
            waited: Duration::ZERO,
        };
        let mut at = 0;
        for name in names {
            let mut tried = 0;
            let kept = loop {
                let server = self.servers[at];
                let since = Instant::now();
                match self.fetch(name, server, stop)? {
                    Ok(octets) => {
                        break Kept {
                            name: name.clone(),
                            blake3: blake3::hash(&octets),
                            octets,
                            server,
                            took: since.elapsed(),
                        };
                    }
                    Err(Missed::Silent) => {
                        tried += 1;
                        let most = self
                            .rounds
                            .map(|rounds| rounds as usize * self.servers.len());
                        if most.is_some_and(|most| tried >= most) {
                            bail!("{name}: no server has answered");
                        }
                        booted.moves += 1;
                        booted.waited += since.elapsed();
                        at = (at + 1) % self.servers.len();
                        say(News::Silent(server, since.elapsed()));
                    }
                    Err(Missed::Refused(code)) => {
                        bail!("{name}: {server} answers with error {}", code.0)
                    }
                    Err(Missed::Broken(how)) => bail!("{name}: {server} breaks a rule: {how}"),
                }
            };
            say(News::Arrived(&kept));
            booted.files.push(kept);
        }
        Ok(booted)
    }

    /// One file from one server.
    fn fetch(
        &self,
        name: &str,
        server: SocketAddr,
        stop: &dyn Fn() -> bool,
    ) -> Result<Result<Vec<u8>, Missed>> {
        let origin = Instant::now();
        let now = || Time::ZERO + origin.elapsed();
        let name: Arc<[u8]> = name.as_bytes().into();
        let mut download = Download::new(Arc::clone(&self.profile), name, server, now())?;
        let (mut socket, mut port) = (self.socket(server)?, LocalPort::default());
        let mut octets = Vec::new();
        let mut packet = [0; REQUEST_BYTES_MAX];
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            while let Some(transmit) = download.poll_transmit(&mut packet) {
                if transmit.port != port {
                    (socket, port) = (self.socket(server)?, transmit.port);
                }
                // What the system refuses is as good as lost, and sent again.
                let _ = socket.send_to(&packet[..transmit.len], transmit.to);
            }
            if let Some(outcome) = download.outcome() {
                return Ok(match outcome {
                    Outcome::Completed(_) => Ok(octets),
                    Outcome::TimedOut { .. } => Err(Missed::Silent),
                    Outcome::Refused(code) => Err(Missed::Refused(code)),
                    Outcome::Violated(how) => Err(Missed::Broken(format!("{how:?}"))),
                    Outcome::Aborted => bail!("it is larger than {MEMORY_BYTES_MAX} octets"),
                });
            }
            if stop() {
                bail!("switched off");
            }
            let wait = download.poll_timeout().map(|at| at.since(now()));
            let wait = wait.unwrap_or_default().min(LOOK);
            socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
            if let Ok((len, from)) = socket.recv_from(&mut datagram) {
                let mut fits = true;
                download.handle_datagram(now(), from, &datagram[..len], &mut |offset, data| {
                    fits &= put(&mut octets, offset, data);
                });
                if !fits {
                    download.abort();
                }
            } else {
                download.handle_timeout(now());
            }
        }
    }

    /// A socket of the client: at its own address, where it is one of this machine.
    fn socket(&self, server: SocketAddr) -> Result<UdpSocket> {
        let any = match server.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        };
        let own = self
            .from
            .map(IpAddr::V4)
            .filter(|own| own.is_ipv4() == server.is_ipv4());
        let bound = UdpSocket::bind((own.unwrap_or(any), 0)).or_else(|error| match error.kind() {
            ErrorKind::AddrNotAvailable => UdpSocket::bind((any, 0)),
            _ => Err(error),
        });
        bound.context("a socket for the client")
    }

    /// Whether a server answers a request for a file at all: a size probe, as UEFI firmware makes it.
    #[must_use]
    pub fn answers(&self, server: SocketAddr, name: &str) -> bool {
        let probe = || -> Result<bool> {
            let socket = self.socket(server)?;
            let mut packet = [0; REQUEST_BYTES_MAX];
            let tsize = [(OptionKind::Tsize, 0)];
            let len = emit_request(name.as_bytes(), "octet", &tsize, &mut packet)
                .context("a name that no request can carry")?;
            socket.set_read_timeout(Some(PROBE_PATIENCE))?;
            socket.send_to(&packet[..len], server)?;
            let (_, from) = socket.recv_from(&mut packet)?;
            let bye = emit_error(ErrorCode::OPTION_NEGOTIATION, "only asked for the size");
            socket.send_to(bye.as_bytes(), from)?;
            Ok(true)
        };
        probe().unwrap_or(false)
    }
}

/// How long a key may wait while nothing comes.
const LOOK: Duration = Duration::from_millis(100);

/// Puts octets in their place; whether there is room.
fn put(octets: &mut Vec<u8>, offset: u64, data: &[u8]) -> bool {
    let Ok(offset) = usize::try_from(offset) else {
        return false;
    };
    let end = offset.saturating_add(data.len());
    if end > MEMORY_BYTES_MAX {
        return false;
    }
    if octets.len() < end {
        octets.resize(end, 0);
    }
    octets[offset..end].copy_from_slice(data);
    true
}
