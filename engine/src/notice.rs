//! What workers tell the journal: small values of fixed size, through a bounded queue that nobody waits for.
//!
//! A worker allocates nothing for a notice and makes no system call but the one that wakes a sleeping journal. Where the
//! queue is full the notice is dropped and counted.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::channel::{Receiver, Sender, bounded};
use daybreak_store::Mac;
use daybreak_store::journal::{Refused, Report};
use daybreak_tftp::Time;
use daybreak_tftp::endpoint::{Outcome, Path};

use crate::limits::{NOTICE_NAME_BYTES_MAX, NOTICES_MAX};

/// Something for the journal.
#[derive(Clone, Copy, Debug)]
pub struct Notice {
    /// When.
    pub now: Time,
    /// The client's address.
    pub client: IpAddr,
    /// Our address that it used, where that is known.
    pub server: Option<IpAddr>,
    /// What.
    pub what: Told,
}

/// What a notice tells.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// A transfer of a terminal's own file was acknowledged for the first time.
    Started(FileName),
    /// A transfer ended.
    Ended {
        /// The file.
        file: FileName,
        /// How.
        outcome: Outcome,
        /// What the client acknowledged.
        octets: u64,
        /// From the request to the end.
        duration: Duration,
    },
    /// A card that is nobody's asked for a file of its own.
    Stranger(Mac, FileName),
    /// A terminal that does not boot from here asked for a file of its own.
    Refused(Mac, FileName, Refused),
    /// An authentic report of a terminal.
    Reported(Mac, Report),
    /// The client takes its address now, by what it says to the DHCP servers of its network.
    Takes(Mac),
}

/// The beginning of a file's name.
#[derive(Clone, Copy)]
pub struct FileName {
    len: u8,
    octets: [u8; NOTICE_NAME_BYTES_MAX],
}

impl FileName {
    /// The first [`NOTICE_NAME_BYTES_MAX`] octets of `name`.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let len = name.len().min(NOTICE_NAME_BYTES_MAX);
        let mut octets = [0; NOTICE_NAME_BYTES_MAX];
        octets[..len].copy_from_slice(&name[..len]);
        let len = u8::try_from(len).expect("bounded");
        FileName { len, octets }
    }

    /// Its octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

impl fmt::Display for FileName {
    /// What is not text is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.as_bytes().utf8_chunks() {
            f.write_str(chunk.valid())?;
            fmt::Display::fmt(&chunk.invalid().escape_ascii(), f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The end of the queue that is told to. The default tells nobody.
#[derive(Clone, Debug, Default)]
pub struct Notices {
    queue: Option<Sender<Notice>>,
    dropped: Arc<AtomicU64>,
}

impl Notices {
    /// A queue: where to tell, and where it arrives.
    #[must_use]
    pub fn queue() -> (Self, Receiver<Notice>) {
        let (sender, receiver) = bounded(NOTICES_MAX);
        let notices = Notices {
            queue: Some(sender),
            dropped: Arc::default(),
        };
        (notices, receiver)
    }

    /// Tells. Never waits.
    pub fn tell(&self, now: Time, path: &Path, what: Told) {
        self.put(Notice {
            now,
            client: path.remote.ip().to_canonical(),
            server: path.local.map(|local| local.to_canonical()),
            what,
        });
    }

    /// The same, of what did not come over TFTP.
    pub fn put(&self, notice: Notice) {
        if let Some(queue) = &self.queue
            && queue.try_send(notice).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notices dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts_and_never_waits() {
        let (notices, queue) = Notices::queue();
        let notice = Notice {
            now: Time::ZERO,
            client: IpAddr::from([192, 0, 2, 1]),
            server: None,
            what: Told::Started(FileName::of(b"boot/52:54:00:00:00:01.ipxe")),
        };
        for _ in 0..NOTICES_MAX + 7 {
            notices.put(notice);
        }
        assert_eq!((queue.len(), notices.dropped()), (NOTICES_MAX, 7));
        Notices::default().put(notice);
    }

    #[test]
    fn a_name_is_cut_and_shown_whatever_it_holds() {
        let long = FileName::of(&[b'a'; 1000]);
        assert_eq!(long.as_bytes().len(), NOTICE_NAME_BYTES_MAX);
        assert_eq!(FileName::of("f\u{fc}r".as_bytes()).to_string(), "f\u{fc}r");
        assert_eq!(FileName::of(b"a\xffb").to_string(), r"a\xffb");
    }
}
