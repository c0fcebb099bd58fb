//! Not every line that could be logged is: of one cause, at most one in [`limits::LOG_INTERVAL`].

use std::sync::atomic::{AtomicU64, Ordering};

use daybreak_tftp::Time;

use crate::limits;

/// What may be logged by request of anybody on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A name that the catalog does not have.
    NotFound,
    /// A name that cannot be one.
    NameRefused,
    /// An image that cannot be opened.
    ImageUnreadable,
    /// A text that is too large to be converted.
    TextRefused,
    /// A transfer that came to its end.
    Completed,
    /// A transfer of which only the last ACK is missing.
    Unconfirmed,
    /// A client that wanted to know a size.
    Probe,
    /// A transfer whose client asked for something else.
    Replaced,
    /// A transfer whose client fell silent.
    TimedOut,
    /// A transfer that could not be sent.
    SendFailed,
    /// A transfer that its client ended with an ERROR.
    Aborted,
    /// Sends that the kernel refused.
    SendErrors,
    /// A client that was told its boot file.
    BootFileNamed,
    /// A client that there is no boot file for.
    NothingToBoot,
    /// An answer of ProxyDHCP that the kernel refused.
    ProxyDhcpUnsent,
}

const CAUSES: usize = Cause::ProxyDhcpUnsent as usize + 1;

/// Lets a line through now and then, and counts the others. Shared by all workers.
#[derive(Debug, Default)]
pub struct Quiet {
    causes: [Gate; CAUSES],
}

#[derive(Debug, Default)]
struct Gate {
    /// Nanoseconds; zero: at once.
    next: AtomicU64,
    suppressed: AtomicU64,
}

impl Quiet {
    /// Whether a line may be written now; and then, how many were not since the last one.
    #[must_use]
    pub fn lets(&self, cause: Cause, now: Time) -> Option<u64> {
        let gate = &self.causes[cause as usize];
        let next = gate.next.load(Ordering::Relaxed);
        let after = (now + limits::LOG_INTERVAL).as_nanos();
        let ours = now.as_nanos() >= next
            && gate
                .next
                .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !ours {
            gate.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(gate.suppressed.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_cause_and_the_others_are_counted() {
        let quiet = Quiet::default();
        let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
        assert_eq!(quiet.lets(Cause::NotFound, at(0)), Some(0));
        for millis in 1..1000 {
            assert_eq!(quiet.lets(Cause::NotFound, at(millis)), None);
        }
        assert_eq!(
            quiet.lets(Cause::SendErrors, at(500)),
            Some(0),
            "another cause"
        );
        assert_eq!(quiet.lets(Cause::NotFound, at(1000)), Some(999));
        assert_eq!(quiet.lets(Cause::NotFound, at(5000)), Some(0));
    }
}
