//! One client: where it stands in its boot, and what it does next.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use daybreak_tftp::Time;
use daybreak_tftp::download::{Download, Outcome};
use daybreak_tftp::wire::ErrorCode;

use crate::arrival::Arriving;
use crate::content::Content;
use crate::loss::Luck;
use crate::plan::{Fleet, Plan};
use crate::tally::{Failure, FleetTally, Tally};

/// A client that boots. Its socket belongs to the driver.
#[derive(Debug)]
pub struct Client {
    /// The file under way.
    pub download: Download,
    /// What the network does to it.
    pub luck: Luck,
    /// Position in the plan's list of fleets.
    pub fleet: usize,
    /// Position in the fleet.
    position: u32,
    powered_on: Time,
    first_data: Option<Time>,
    /// Position in the fleet's list of files.
    file: usize,
    /// Position in the fleet's list of servers.
    server: usize,
    /// Servers tried in vain for the present file.
    tried: usize,
    /// Servers left, over all files.
    moves: u32,
    /// When the present server was last heard, or else asked.
    heard: Time,
    /// Time spent on servers that did not answer.
    waited: Duration,
    /// Whether octets of the present file differ from what they must be.
    damaged: bool,
}

/// What a client does when a download has ended.
#[derive(Debug)]
pub enum Next {
    /// It asks again, from a new port: for the next file, or another server.
    Ask,
    /// It has booted, or failed.
    End(Result<Booted, Failure>),
}

/// A boot that is over.
#[derive(Clone, Copy, Debug)]
pub struct Booted {
    /// The client's number, over all fleets.
    pub client: u32,
    /// When the client was powered on.
    pub powered_on: Time,
    /// Position in the plan's list of the server that served the last file.
    pub server: usize,
    /// Where the client went on from one server to another: the time spent on those that did not answer.
    pub moved: Option<Duration>,
}

impl Client {
    /// A client that is powered on at a time.
    ///
    /// # Errors
    /// [`Failure::BadName`] if no request can carry a name of the plan.
    pub fn new(
        plan: &Plan,
        contents: &[Content],
        who: Arriving,
        on: Time,
    ) -> Result<Self, Failure> {
        let number = plan.fleets[who.fleet].first + who.position;
        let whom = Whom {
            fleet: who.fleet,
            position: who.position,
            file: 0,
            server: 0,
        };
        Ok(Client {
            download: ask(plan, contents, whom, on)?,
            luck: Luck::new(plan.seed, number),
            fleet: who.fleet,
            position: who.position,
            powered_on: on,
            first_data: None,
            file: 0,
            server: 0,
            tried: 0,
            moves: 0,
            heard: on,
            waited: Duration::ZERO,
            damaged: false,
        })
    }

    /// Takes a datagram.
    pub fn handle_datagram(
        &mut self,
        now: Time,
        from: SocketAddr,
        datagram: &[u8],
        plan: &Plan,
        contents: &mut [Content],
    ) {
        let content = &mut contents[self.content(&plan.fleets[self.fleet])];
        let mut right = true;
        self.download
            .handle_datagram(now, from, datagram, &mut |offset, octets| {
                right &= content.check(offset, octets);
            });
        self.damaged |= !right;
        self.heard = now;
    }

    /// What follows the end of a download; counts it.
    pub fn next(&mut self, plan: &Plan, tally: &mut Tally, now: Time) -> Option<Next> {
        let outcome = self.download.outcome()?;
        let Tally {
            fleets, contents, ..
        } = tally;
        let counts = &mut fleets[self.fleet];
        counts.count(&self.download);
        if self.first_data.is_none() {
            self.first_data = self.download.first_data_at();
            if let Some(at) = self.first_data {
                let time = micros(at, self.powered_on);
                counts.first_data.saturating_record(time);
            }
        }
        let fleet = &plan.fleets[self.fleet];
        Some(match self.ended(outcome, fleet, counts, contents, now) {
            Ok(true) => Next::End(Ok(Booted {
                client: fleet.first + self.position,
                powered_on: self.powered_on,
                server: fleet.servers[self.server],
                moved: (self.moves > 0).then_some(self.waited),
            })),
            Err(failure) => Next::End(Err(failure)),
            Ok(false) => {
                let whom = Whom {
                    fleet: self.fleet,
                    position: self.position,
                    file: self.file,
                    server: self.server,
                };
                match ask(plan, contents, whom, now) {
                    Ok(download) => {
                        self.download = download;
                        self.damaged = false;
                        self.heard = now;
                        Next::Ask
                    }
                    Err(failure) => Next::End(Err(failure)),
                }
            }
        })
    }

    /// Whether the boot is over; else the next file or server is set.
    fn ended(
        &mut self,
        outcome: Outcome,
        fleet: &Fleet,
        counts: &mut FleetTally,
        contents: &mut [Content],
        now: Time,
    ) -> Result<bool, Failure> {
        match outcome {
            Outcome::Completed(bytes) => {
                if self.damaged || !contents[self.content(fleet)].check_end(bytes) {
                    return Err(Failure::Content);
                }
                counts.bytes += bytes;
                Ok(self.next_file(fleet))
            }
            Outcome::Refused(ErrorCode::FILE_NOT_FOUND) if fleet.files[self.file].optional => {
                counts.absent += 1;
                Ok(self.next_file(fleet))
            }
            // A server that was started again in the middle does not know the transfer any more: as good as dead, for this one.
            Outcome::TimedOut { .. } | Outcome::Refused(ErrorCode::UNKNOWN_TID) => {
                self.tried += 1;
                self.waited += now.since(self.heard);
                if self.tried == fleet.servers.len() * usize::from(fleet.rounds) {
                    return Err(match outcome {
                        Outcome::Refused(code) => Failure::Refused(code.0),
                        Outcome::TimedOut { answered: true } => Failure::Stalled,
                        _ => Failure::NoAnswer,
                    });
                }
                counts.failovers += 1;
                self.moves += 1;
                self.server = (self.server + 1) % fleet.servers.len();
                Ok(false)
            }
            Outcome::Refused(code) => Err(Failure::Refused(code.0)),
            Outcome::Violated(violation) => Err(Failure::Violated(violation)),
            Outcome::Aborted => Err(Failure::Deadline),
        }
    }

    /// Goes on to the next file; whether there is none.
    fn next_file(&mut self, fleet: &Fleet) -> bool {
        self.file += 1;
        self.tried = 0;
        self.file == fleet.files.len()
    }

    fn content(&self, fleet: &Fleet) -> usize {
        fleet.files[self.file].content.client(self.position)
    }
}

/// Microseconds from one time to a later one.
#[must_use]
pub fn micros(later: Time, earlier: Time) -> u64 {
    as_micros(later.since(earlier))
}

/// A time in microseconds.
#[must_use]
pub fn as_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Who asks whom for what.
#[derive(Clone, Copy)]
struct Whom {
    fleet: usize,
    position: u32,
    file: usize,
    server: usize,
}

fn ask(plan: &Plan, contents: &[Content], whom: Whom, now: Time) -> Result<Download, Failure> {
    let fleet = &plan.fleets[whom.fleet];
    let file = &fleet.files[whom.file];
    let name = file.name.name(whom.fleet, whom.position);
    let server = plan.servers[fleet.servers[whom.server]].address;
    let mut download = Download::new(Arc::clone(&fleet.profile), name, server, now)
        .map_err(|_| Failure::BadName)?;
    if let Some(bytes) = contents[file.content.client(whom.position)].bytes_given() {
        download.expect_bytes(bytes);
    }
    Ok(download)
}
