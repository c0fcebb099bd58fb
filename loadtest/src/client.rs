//! One client: where it stands in its boot, and what it does next.

use std::net::SocketAddr;
use std::sync::Arc;

use daybreak_tftp::Time;
use daybreak_tftp::download::{Download, Outcome};

use crate::args::Plan;
use crate::content::Content;
use crate::loss::Luck;
use crate::tally::{Failure, Tally};

/// A client that boots. Its socket belongs to the fleet.
#[derive(Debug)]
pub struct Client {
    /// The file under way.
    pub download: Download,
    /// What the network does to it.
    pub luck: Luck,
    powered_on: Time,
    first_data: Option<Time>,
    /// Position in the plan's list of files.
    file: usize,
    /// Position in the plan's list of servers.
    server: usize,
    /// Servers tried in vain for the present file.
    tried: usize,
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
    /// When the client was powered on.
    pub powered_on: Time,
    /// Position of the server that served the last file.
    pub server: usize,
}

impl Client {
    /// A client that is powered on at a time.
    ///
    /// # Errors
    /// [`Failure::BadName`] if no request can carry a name of the plan.
    pub fn new(plan: &Plan, contents: &[Content], luck: Luck, on: Time) -> Result<Self, Failure> {
        Ok(Client {
            download: ask(plan, contents, 0, plan.servers[0], on)?,
            luck,
            powered_on: on,
            first_data: None,
            file: 0,
            server: 0,
            tried: 0,
            damaged: false,
        })
    }

    /// Takes a datagram.
    pub fn handle_datagram(
        &mut self,
        now: Time,
        from: SocketAddr,
        datagram: &[u8],
        contents: &mut [Content],
    ) {
        let content = &mut contents[self.file];
        let mut right = true;
        self.download
            .handle_datagram(now, from, datagram, &mut |offset, octets| {
                right &= content.check(offset, octets);
            });
        self.damaged |= !right;
    }

    /// What follows the end of a download; counts it.
    pub fn next(&mut self, plan: &Plan, tally: &mut Tally, now: Time) -> Option<Next> {
        let outcome = self.download.outcome()?;
        tally.count(&self.download);
        if self.first_data.is_none() {
            self.first_data = self.download.first_data_at();
            if let Some(at) = self.first_data {
                tally
                    .first_data
                    .saturating_record(micros(at, self.powered_on));
            }
        }
        Some(match self.ended(outcome, plan, tally) {
            Ok(true) => Next::End(Ok(Booted {
                powered_on: self.powered_on,
                server: self.server,
            })),
            Err(failure) => Next::End(Err(failure)),
            Ok(false) => match ask(
                plan,
                &tally.contents,
                self.file,
                plan.servers[self.server],
                now,
            ) {
                Ok(download) => {
                    self.download = download;
                    self.damaged = false;
                    Next::Ask
                }
                Err(failure) => Next::End(Err(failure)),
            },
        })
    }

    /// Whether the boot is over; else the next file or server is set.
    fn ended(&mut self, outcome: Outcome, plan: &Plan, tally: &mut Tally) -> Result<bool, Failure> {
        match outcome {
            Outcome::Completed(bytes) => {
                if self.damaged || !tally.contents[self.file].check_end(bytes) {
                    return Err(Failure::Content);
                }
                tally.bytes += bytes;
                self.file += 1;
                self.tried = 0;
                Ok(self.file == plan.files.len())
            }
            Outcome::TimedOut { answered } => {
                self.tried += 1;
                if self.tried == plan.servers.len() * usize::from(plan.rounds) {
                    return Err(if answered {
                        Failure::Stalled
                    } else {
                        Failure::NoAnswer
                    });
                }
                tally.failovers += 1;
                self.server = (self.server + 1) % plan.servers.len();
                Ok(false)
            }
            Outcome::Refused(code) => Err(Failure::Refused(code.0)),
            Outcome::Violated(violation) => Err(Failure::Violated(violation)),
            Outcome::Aborted => Err(Failure::Deadline),
        }
    }
}

/// Microseconds from one time to a later one.
#[must_use]
pub fn micros(later: Time, earlier: Time) -> u64 {
    u64::try_from(later.since(earlier).as_micros()).unwrap_or(u64::MAX)
}

fn ask(
    plan: &Plan,
    contents: &[Content],
    file: usize,
    server: SocketAddr,
    now: Time,
) -> Result<Download, Failure> {
    let name = Arc::clone(&plan.files[file].name);
    let mut download = Download::new(Arc::clone(&plan.profile), name, server, now)
        .map_err(|_| Failure::BadName)?;
    if let Some(bytes) = contents[file].bytes_given() {
        download.expect_bytes(bytes);
    }
    Ok(download)
}
