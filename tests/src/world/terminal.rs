//! A thin client that boots: a real `Download`, power, patience, and the proof that what it got is the image.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use daybreak_tftp::Time;
use daybreak_tftp::download::{Download, LocalPort, Outcome, Violation};
use daybreak_tftp::limits;
use daybreak_tftp::wire::ErrorCode;

use super::content::ImageKey;
use super::failure::{Check, Failure, check};
use super::host::Catalog;
use super::packet::Body;
use super::scenario::TerminalPlan;

/// Ports that one boot may use: the probe's, and those of its restarts.
const PORTS_PER_BOOT: u16 = 6;

/// A datagram that a terminal sends.
#[derive(Debug)]
pub struct Outgoing {
    /// Its own port.
    pub from: SocketAddr,
    /// The server's.
    pub to: SocketAddr,
    /// What.
    pub body: Body,
}

/// How a boot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has what it asked for, or knows that there is no such file.
    Booted,
    /// It failed, for a reason that the faults of the world explain: it will boot again.
    Failed,
}

/// See the module.
#[derive(Debug)]
pub struct Terminal {
    /// What it is.
    pub plan: TerminalPlan,
    /// The boot under way, or the last one.
    pub download: Option<Download>,
    /// It is done.
    pub booted: bool,
    /// Boots until now.
    pub boots: u32,
    /// When the present boot began.
    pub since: Time,
    /// Somebody spoke with its voice, or it reused its port: it may be confused through no fault of the server.
    pub confused: bool,
    /// When a datagram of the file came last.
    pub progress_at: Time,
    /// The longest time without one, in boots that began without faults.
    pub stall: Duration,
    port: u16,
    port_in_use: LocalPort,
    /// Octets that came in order.
    bytes: u64,
    /// The generations that they may be of.
    generations: Vec<u8>,
    reported: bool,
}

/// The next free port of every address.
#[derive(Debug, Default)]
pub struct Ports(HashMap<IpAddr, u16>);

impl Ports {
    fn next(&mut self, address: IpAddr) -> u16 {
        let next = self.0.entry(address).or_insert(1024);
        let port = *next;
        *next = if port > u16::MAX - 2 * PORTS_PER_BOOT {
            1024
        } else {
            port + PORTS_PER_BOOT
        };
        port
    }
}

impl Terminal {
    /// A terminal that is switched off.
    #[must_use]
    pub fn new(plan: TerminalPlan) -> Self {
        Terminal {
            plan,
            download: None,
            booted: false,
            boots: 0,
            since: Time::ZERO,
            confused: false,
            progress_at: Time::ZERO,
            stall: Duration::ZERO,
            port: 0,
            port_in_use: LocalPort(0),
            bytes: 0,
            generations: Vec::new(),
            reported: false,
        }
    }

    /// It is switched on, at a port of its own or at the one before.
    pub fn boot(&mut self, now: Time, ports: &mut Ports, same_port: bool) {
        if same_port && self.boots > 0 {
            self.confused = true;
        } else {
            self.confused = false;
            self.port = ports.next(self.plan.address);
        }
        let name = if self.plan.absent {
            "boot/nothing".into()
        } else {
            Catalog::name(self.plan.image)
        };
        let name = Arc::from(name.as_bytes());
        let download = Download::new(Arc::clone(&self.plan.profile), name, self.plan.server, now);
        self.download = Some(download.expect("names of the catalog fit"));
        self.boots += 1;
        self.since = now;
        self.progress_at = now;
        self.stall = Duration::ZERO;
        self.reported = false;
        self.port_in_use = LocalPort(0);
        self.bytes = 0;
        self.generations.clear();
    }

    /// It has no power.
    pub fn switch_off(&mut self) {
        self.download = None;
    }

    /// It runs, and has not come to an end.
    #[must_use]
    pub fn is_booting(&self) -> bool {
        self.download
            .as_ref()
            .is_some_and(|download| download.outcome().is_none())
    }

    /// The address of the port that it uses.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address_of(self.port_in_use)
    }

    fn address_of(&self, port: LocalPort) -> SocketAddr {
        SocketAddr::new(self.plan.address, self.port + u16::from(port.0))
    }

    /// Whether it hears what is sent to an address.
    #[must_use]
    pub fn listens_at(&self, address: SocketAddr) -> bool {
        self.address() == address && (self.is_booting() || self.plan.lingers)
    }

    /// A datagram arrives from `from`. `opened`: the generations of the image that were opened for the port it uses.
    ///
    /// # Errors
    /// T1, if the octets are not those of the image.
    pub fn hears(
        &mut self,
        now: Time,
        from: SocketAddr,
        octets: &[u8],
        opened: impl Fn() -> Vec<u8>,
    ) -> Check {
        let Some(download) = &mut self.download else {
            return Ok(());
        };
        let image = u16::try_from(self.plan.image).expect("few images");
        let text = self.plan.profile.mode == "netascii";
        let (bytes, generations) = (&mut self.bytes, &mut self.generations);
        let mut right = true;
        download.handle_datagram(now, from, octets, &mut |offset, octets| {
            if offset == 0 {
                *bytes = 0;
                *generations = opened();
            }
            right &= offset == *bytes;
            *bytes += octets.len() as u64;
            generations.retain(|&generation| {
                let key = ImageKey {
                    image,
                    generation,
                    text,
                };
                key.matches(offset, octets)
            });
            right &= !generations.is_empty();
        });
        if self.bytes > 0 || download.first_data_at() == Some(now) {
            self.stall = self.stall.max(now.since(self.progress_at));
            self.progress_at = now;
        }
        check("T1", right || self.confused, || {
            format!(
                "octets at {} are not those of {image} in any generation opened",
                self.bytes
            )
        })
    }

    /// Everything that it has to send.
    pub fn sends(&mut self, out: &mut Vec<Outgoing>) {
        let mut buffer = [0; limits::REQUEST_BYTES_MAX];
        while let Some(transmit) = self
            .download
            .as_mut()
            .and_then(|download| download.poll_transmit(&mut buffer))
        {
            self.port_in_use = transmit.port;
            out.push(Outgoing {
                from: self.address_of(transmit.port),
                to: transmit.to,
                body: Body::octets(&buffer[..transmit.len]),
            });
        }
    }

    /// How its boot ended, once; `None` while it runs. `excused`: it began before the faults were over.
    ///
    /// # Errors
    /// T1 to T3, liveness: an end that no fault explains.
    pub fn ended(&mut self, catalog: &Catalog, excused: bool) -> Result<Option<End>, Failure> {
        let Some(outcome) = self.download.as_ref().and_then(Download::outcome) else {
            return Ok(None);
        };
        let name = self.plan.profile.name;
        if self.reported {
            // What comes after the end may still show that the server broke a rule.
            return match outcome {
                Outcome::Violated(violation) if self.booted => {
                    check(monitor_of(violation), self.confused, || {
                        format!("{name}, after its end: {violation}")
                    })?;
                    Ok(None)
                }
                _ => Ok(None),
            };
        }
        self.reported = true;
        let unless = |monitor, excused: bool| {
            check(monitor, excused, || {
                format!("{name} ended with {outcome:?}")
            })?;
            Ok(Some(End::Failed))
        };
        match outcome {
            Outcome::Completed(bytes) => {
                self.check_complete(catalog, bytes)?;
                self.booted = true;
                Ok(Some(End::Booted))
            }
            Outcome::Refused(ErrorCode::FILE_NOT_FOUND) if self.plan.absent => {
                self.booted = true;
                Ok(Some(End::Booted))
            }
            Outcome::Refused(ErrorCode::NOT_DEFINED | ErrorCode::UNKNOWN_TID)
            | Outcome::TimedOut { .. } => unless("liveness", excused || self.confused),
            Outcome::Refused(_) | Outcome::Aborted => unless("T5", self.confused),
            Outcome::Violated(violation) => unless(monitor_of(violation), self.confused),
        }
    }

    fn check_complete(&mut self, catalog: &Catalog, bytes: u64) -> Check {
        let image = u16::try_from(self.plan.image).expect("few images");
        let text = self.plan.profile.mode == "netascii";
        self.generations.retain(|&generation| {
            let key = ImageKey {
                image,
                generation,
                text,
            };
            catalog.bytes(key) == bytes
        });
        let whole = bytes == self.bytes && !self.generations.is_empty();
        check("T1", whole || self.confused, || {
            format!("{bytes} octets of image {image}, which never had that size")
        })
    }

    /// The generation that it received.
    #[must_use]
    pub fn generation(&self) -> Option<u8> {
        self.generations.first().copied()
    }
}

/// The invariant that a violation seen by a client belongs to.
fn monitor_of(violation: Violation) -> &'static str {
    match violation {
        Violation::DataBeforeAck | Violation::BeyondWindow(_) => "T2",
        Violation::DataLong | Violation::DataAfterEnd(_) | Violation::WrongLength { .. } => "T1",
        Violation::Malformed | Violation::NotForClients => "T12",
        _ => "T3",
    }
}
