//! Events, and their octets.
//!
//! A record is the time (u64, milliseconds since 1970), the kind (u8), and the fields of that kind in the order of their
//! declaration: numbers little-endian, texts and optional parts behind a length or a flag. A kind is never changed, only added; a
//! reader passes over a kind that it does not know.

use core::net::IpAddr;

use crate::Mac;
use crate::limits::JOURNAL_TEXT_BYTES_MAX;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// What.
    pub what: What,
}

/// A client, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: Option<IpAddr>,
    /// Our address that it talked to.
    pub server: Option<IpAddr>,
    /// Its network card.
    pub mac: Option<Mac>,
    /// How that is known. Never a proof of identity.
    pub source: Source,
    /// Whose card it was when this happened.
    pub terminal: Option<Terminal>,
}

/// A terminal, as the catalog in service named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// How a client was attributed to a network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// It was not.
    Anonymous = 0,
    /// By the address in the name that it asked for.
    Name = 1,
    /// By its source address, which asked for such a name before.
    Address = 2,
    /// By a report that its key authenticates.
    Key = 3,
}

/// How far a boot is, by the file that was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// A boot script of the terminal's own.
    Script = 1,
    /// A file of a firmware package.
    Firmware = 2,
    /// Anything else.
    Other = 3,
}

/// Why a transfer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The client fell silent.
    TimedOut,
    /// The client ended it, with this TFTP error.
    Aborted(u16),
    /// It could not be sent.
    SendFailed,
    /// The engine went down.
    ShutDown,
}

/// Why a terminal does not boot from this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It holds no seat.
    NoSeat,
    /// The other server of the pair boots it; this one boots nobody.
    Standby,
}

/// What events were lost to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// More happened than the queue holds.
    Queue = 1,
    /// The disk did not take them.
    Disk = 2,
}

/// What a terminal says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How far it is; see `docs/protocol.md`.
    pub stage: u8,
    /// Sessions that it has open.
    pub sessions: u16,
    /// How long it runs.
    pub uptime_s: u32,
    /// It will report again within this time.
    pub interval_s: u16,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The engine serves.
    EngineStarted {
        /// Its version.
        version: String,
    },
    /// The engine ends, and says so. A killed one does not.
    EngineStopped,
    /// A client has begun to fetch a boot script of its own.
    BootStarted {
        /// Who.
        client: Client,
        /// The script.
        file: String,
    },
    /// A client has a file.
    Progress {
        /// Who.
        client: Client,
        /// What kind of file.
        stage: Stage,
        /// The file.
        file: String,
        /// Its length.
        octets: u64,
        /// From the request to the last acknowledgement.
        duration_ms: u64,
    },
    /// A client has its configuration.
    BootFinished {
        /// Who.
        client: Client,
        /// The configuration.
        file: String,
        /// Its length.
        octets: u64,
        /// From the request to the last acknowledgement.
        duration_ms: u64,
        /// The same since [`What::BootStarted`], if that was seen: all octets, all the time.
        boot: Option<(u64, u64)>,
    },
    /// A client did not get a file.
    BootFailed {
        /// Who.
        client: Client,
        /// The file.
        file: String,
        /// What it acknowledged.
        octets: u64,
        /// From the request to the end.
        duration_ms: u64,
        /// Why.
        why: Why,
    },
    /// A terminal reported, and there is something new in it, or the last one told here is getting old.
    Status {
        /// Who.
        client: Client,
        /// What.
        report: Report,
    },
    /// A file of its own was asked for by a card that is nobody's.
    UnknownTerminal {
        /// Who.
        client: Client,
        /// The name that it asked for.
        file: String,
    },
    /// A terminal that does not boot from here asked for a file of its own.
    BootRefused {
        /// Who.
        client: Client,
        /// The name that it asked for.
        file: String,
        /// Why. It is part of the kind.
        why: Refused,
    },
    /// Events are missing.
    Lost {
        /// How many; at most, where it is not known exactly.
        events: u64,
        /// To what.
        cause: Cause,
    },
}

/// Why octets are no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A kind that this version does not know.
    #[error("a kind of event that this version does not know: {0}")]
    Kind(u8),
    /// The fields are not those of its kind.
    #[error("not an event")]
    Malformed,
}

impl What {
    /// The client that it is about.
    #[must_use]
    pub fn client(&self) -> Option<&Client> {
        match self {
            What::BootStarted { client, .. }
            | What::Progress { client, .. }
            | What::BootFinished { client, .. }
            | What::BootFailed { client, .. }
            | What::Status { client, .. }
            | What::UnknownTerminal { client, .. }
            | What::BootRefused { client, .. } => Some(client),
            What::EngineStarted { .. } | What::EngineStopped | What::Lost { .. } => None,
        }
    }
}

impl Event {
    /// Appends its octets. Texts are cut at [`JOURNAL_TEXT_BYTES_MAX`], so that what is written can be read.
    pub fn emit(&self, to: &mut Vec<u8>) {
        let mut out = Out(to);
        out.u64(self.time_ms);
        match &self.what {
            What::EngineStarted { version } => {
                out.u8(1);
                out.text(version);
            }
            What::EngineStopped => out.u8(2),
            What::BootStarted { client, file } => {
                out.u8(3);
                out.client(client);
                out.text(file);
            }
            What::Progress {
                client,
                stage,
                file,
                octets,
                duration_ms,
            } => {
                out.u8(4);
                out.client(client);
                out.u8(*stage as u8);
                out.text(file);
                out.u64(*octets);
                out.u64(*duration_ms);
            }
            What::BootFinished {
                client,
                file,
                octets,
                duration_ms,
                boot,
            } => {
                out.u8(5);
                out.client(client);
                out.text(file);
                out.u64(*octets);
                out.u64(*duration_ms);
                out.optional(*boot, |out, (octets, duration_ms)| {
                    out.u64(octets);
                    out.u64(duration_ms);
                });
            }
            What::BootFailed {
                client,
                file,
                octets,
                duration_ms,
                why,
            } => {
                out.u8(6);
                out.client(client);
                out.text(file);
                out.u64(*octets);
                out.u64(*duration_ms);
                let (kind, code) = match why {
                    Why::TimedOut => (1, 0),
                    Why::Aborted(code) => (2, *code),
                    Why::SendFailed => (3, 0),
                    Why::ShutDown => (4, 0),
                };
                out.u8(kind);
                out.u16(code);
            }
            What::Status { client, report } => {
                out.u8(7);
                out.client(client);
                out.u8(report.stage);
                out.u16(report.sessions);
                out.0.extend_from_slice(&report.uptime_s.to_le_bytes());
                out.u16(report.interval_s);
            }
            What::UnknownTerminal { client, file } => {
                out.u8(8);
                out.client(client);
                out.text(file);
            }
            What::BootRefused { client, file, why } => {
                out.u8(match why {
                    Refused::NoSeat => 10,
                    Refused::Standby => 11,
                });
                out.client(client);
                out.text(file);
            }
            What::Lost { events, cause } => {
                out.u8(9);
                out.u64(*events);
                out.u8(*cause as u8);
            }
        }
    }

    /// Reads an event. Total: any octets give one or an error.
    pub fn parse(octets: &[u8]) -> Result<Self, EventError> {
        let mut from = In(octets);
        let event = from.event()?;
        if from.0.is_empty() {
            Ok(event)
        } else {
            Err(EventError::Malformed)
        }
    }
}

struct Out<'a>(&'a mut Vec<u8>);

impl Out<'_> {
    fn u8(&mut self, number: u8) {
        self.0.push(number);
    }

    fn u16(&mut self, number: u16) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        let mut cut = text.len().min(JOURNAL_TEXT_BYTES_MAX);
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        self.u16(u16::try_from(cut).expect("bounded"));
        self.0.extend_from_slice(&text.as_bytes()[..cut]);
    }

    fn optional<T>(&mut self, value: Option<T>, emit: impl FnOnce(&mut Self, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            emit(self, value);
        }
    }

    fn address(&mut self, address: Option<IpAddr>) {
        match address {
            None => self.u8(0),
            Some(IpAddr::V4(address)) => {
                self.u8(4);
                self.0.extend_from_slice(&address.octets());
            }
            Some(IpAddr::V6(address)) => {
                self.u8(6);
                self.0.extend_from_slice(&address.octets());
            }
        }
    }

    fn client(&mut self, client: &Client) {
        self.address(client.address);
        self.address(client.server);
        self.optional(client.mac, |out, mac| out.0.extend_from_slice(&mac.0));
        self.u8(client.source as u8);
        self.optional(client.terminal.as_ref(), |out, terminal| {
            out.text(&terminal.id);
            out.text(&terminal.name);
        });
    }
}

/// What is left to be read.
struct In<'a>(&'a [u8]);

type Read<T> = Result<T, EventError>;

impl In<'_> {
    fn event(&mut self) -> Read<Event> {
        Ok(Event {
            time_ms: self.u64()?,
            what: self.what()?,
        })
    }

    fn what(&mut self) -> Read<What> {
        Ok(match self.u8()? {
            1 => What::EngineStarted {
                version: self.text()?,
            },
            2 => What::EngineStopped,
            3 => What::BootStarted {
                client: self.client()?,
                file: self.text()?,
            },
            4 => What::Progress {
                client: self.client()?,
                stage: self.stage()?,
                file: self.text()?,
                octets: self.u64()?,
                duration_ms: self.u64()?,
            },
            5 => What::BootFinished {
                client: self.client()?,
                file: self.text()?,
                octets: self.u64()?,
                duration_ms: self.u64()?,
                boot: self.optional(|from| Ok((from.u64()?, from.u64()?)))?,
            },
            6 => What::BootFailed {
                client: self.client()?,
                file: self.text()?,
                octets: self.u64()?,
                duration_ms: self.u64()?,
                why: self.why()?,
            },
            7 => What::Status {
                client: self.client()?,
                report: Report {
                    stage: self.u8()?,
                    sessions: self.u16()?,
                    uptime_s: u32::from_le_bytes(self.array()?),
                    interval_s: self.u16()?,
                },
            },
            8 => What::UnknownTerminal {
                client: self.client()?,
                file: self.text()?,
            },
            kind @ (10 | 11) => What::BootRefused {
                client: self.client()?,
                file: self.text()?,
                why: if kind == 10 {
                    Refused::NoSeat
                } else {
                    Refused::Standby
                },
            },
            9 => What::Lost {
                events: self.u64()?,
                cause: match self.u8()? {
                    1 => Cause::Queue,
                    2 => Cause::Disk,
                    _ => return Err(EventError::Malformed),
                },
            },
            kind => return Err(EventError::Kind(kind)),
        })
    }

    fn array<const COUNT: usize>(&mut self) -> Read<[u8; COUNT]> {
        let (octets, rest) = self.0.split_first_chunk().ok_or(EventError::Malformed)?;
        self.0 = rest;
        Ok(*octets)
    }

    fn u8(&mut self) -> Read<u8> {
        self.array().map(|[octet]| octet)
    }

    fn u16(&mut self) -> Read<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u64(&mut self) -> Read<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Read<String> {
        let len = usize::from(self.u16()?);
        if len > JOURNAL_TEXT_BYTES_MAX {
            return Err(EventError::Malformed);
        }
        let (octets, rest) = self.0.split_at_checked(len).ok_or(EventError::Malformed)?;
        self.0 = rest;
        let text = core::str::from_utf8(octets).map_err(|_| EventError::Malformed)?;
        Ok(text.to_owned())
    }

    fn optional<T>(&mut self, parse: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        match self.u8()? {
            0 => Ok(None),
            1 => parse(self).map(Some),
            _ => Err(EventError::Malformed),
        }
    }

    fn address(&mut self) -> Read<Option<IpAddr>> {
        match self.u8()? {
            0 => Ok(None),
            4 => Ok(Some(self.array::<4>()?.into())),
            6 => Ok(Some(self.array::<16>()?.into())),
            _ => Err(EventError::Malformed),
        }
    }

    fn client(&mut self) -> Read<Client> {
        Ok(Client {
            address: self.address()?,
            server: self.address()?,
            mac: self.optional(|from| from.array().map(Mac))?,
            source: match self.u8()? {
                0 => Source::Anonymous,
                1 => Source::Name,
                2 => Source::Address,
                3 => Source::Key,
                _ => return Err(EventError::Malformed),
            },
            terminal: self.optional(|from| {
                Ok(Terminal {
                    id: from.text()?,
                    name: from.text()?,
                })
            })?,
        })
    }

    fn stage(&mut self) -> Read<Stage> {
        match self.u8()? {
            1 => Ok(Stage::Script),
            2 => Ok(Stage::Firmware),
            3 => Ok(Stage::Other),
            _ => Err(EventError::Malformed),
        }
    }

    fn why(&mut self) -> Read<Why> {
        match (self.u8()?, self.u16()?) {
            (1, 0) => Ok(Why::TimedOut),
            (2, code) => Ok(Why::Aborted(code)),
            (3, 0) => Ok(Why::SendFailed),
            (4, 0) => Ok(Why::ShutDown),
            _ => Err(EventError::Malformed),
        }
    }
}
