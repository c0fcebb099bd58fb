//! Status reports: which of the datagrams that arrive are believed, what is answered, and what is worth an event.
//!
//! A report is believed if its tag was made with the key that the catalog has for its card, and its counter is above every
//! one that was believed before, and above the time at which this engine started: so what was recorded on the wire once is never
//! believed again, also not by an engine that has forgotten what it knew. Only what has the right tag is answered, with as many
//! octets as it had.
//!
//! Everything that is remembered is bounded; before a tag is checked, nothing is.

use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::Arc;

use daybreak_store::journal::Report;
use daybreak_store::{Catalog, Mac, StatusKey};
use daybreak_tftp::Time;
use daybreak_tftp::status::{Content, DATAGRAM_BYTES, Packet, Repr, Tag, Verdict};

use crate::limits::{
    REPORT_AGAIN_AFTER, REPORT_SOURCES, REPORTERS_MAX, REPORTS_A_SECOND_MAX, REPORTS_BURST,
};
use crate::tally::Tally;

/// What is to be done about a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaction {
    /// To be sent back.
    pub answer: Option<[u8; DATAGRAM_BYTES]>,
    /// To be told to the journal.
    pub event: Option<(Mac, Report)>,
}

/// See the module.
#[derive(Debug)]
pub struct Reports {
    /// Counters at and below this are of before the start.
    floor: u64,
    reporters: HashMap<Mac, Reporter>,
    allowances: Box<[Allowance]>,
    hasher: RandomState,
    tally: Arc<Tally>,
}

#[derive(Clone, Copy, Debug)]
struct Reporter {
    counter: u64,
    report: Report,
    told: Time,
}

/// What a source may still send: one token for each datagram.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    tokens: u32,
    since: Time,
}

impl Reports {
    /// Of an engine that starts at `start_ms` by the wall clock.
    #[must_use]
    pub fn new(start_ms: u64, tally: Arc<Tally>) -> Self {
        let full = Allowance {
            tokens: REPORTS_BURST,
            since: Time::ZERO,
        };
        Reports {
            floor: start_ms,
            reporters: HashMap::new(),
            allowances: vec![full; REPORT_SOURCES].into(),
            hasher: RandomState::new(),
            tally,
        }
    }

    /// What to do about a datagram.
    pub fn handle(
        &mut self,
        now: Time,
        source: IpAddr,
        datagram: &[u8],
        catalog: &Catalog,
    ) -> Reaction {
        let tally = self.tally.clone();
        Tally::add(&tally.status_datagrams, 1);
        let ignored = |counter| {
            Tally::add(counter, 1);
            Reaction::default()
        };
        if !self.allows(now, source) {
            return ignored(&tally.status_over_limit);
        }
        let Ok(packet) = Packet::parse(datagram) else {
            return ignored(&tally.status_malformed);
        };
        let mac = Mac(packet.mac());
        let key = catalog.terminal(mac).map(|terminal| terminal.status_key);
        let Some(key) = key.filter(|key| *key != StatusKey::NONE) else {
            return ignored(&tally.status_unknown);
        };
        if !same(tag(&key, packet.signed()), packet.tag()) {
            return ignored(&tally.status_forged);
        }
        let Ok(Repr {
            counter,
            content: Content::Report(report),
            ..
        }) = Repr::parse(&packet)
        else {
            return ignored(&tally.status_malformed);
        };
        let report = Report {
            stage: report.stage as u8,
            sessions: report.sessions,
            uptime_s: report.uptime_s,
            interval_s: report.interval_s,
        };
        let before = self.reporters.get(&mac).copied();
        let highest = before.map_or(self.floor, |before| before.counter);
        if counter <= highest {
            Tally::add(&tally.status_stale, 1);
            return Reaction {
                answer: Some(answer(&key, mac, highest, Verdict::Stale)),
                event: None,
            };
        }
        if before.is_none() && !self.has_room(catalog) {
            return ignored(&tally.status_over_limit);
        }
        Tally::add(&tally.status_taken, 1);
        let news = before.is_none_or(|before| {
            (before.report.stage, before.report.sessions) != (report.stage, report.sessions)
                || report.uptime_s < before.report.uptime_s
                || before.report.interval_s != report.interval_s
                || now >= before.told + REPORT_AGAIN_AFTER.min(half(report.interval_s))
        });
        let told = match before {
            Some(before) if !news => before.told,
            _ => now,
        };
        let reporter = Reporter {
            counter,
            report,
            told,
        };
        self.reporters.insert(mac, reporter);
        Reaction {
            answer: Some(answer(&key, mac, counter, Verdict::Taken)),
            event: news.then_some((mac, report)),
        }
    }

    /// One token, if there is one.
    fn allows(&mut self, now: Time, source: IpAddr) -> bool {
        let place = self.hasher.hash_one(source) % REPORT_SOURCES as u64;
        let allowance = &mut self.allowances[usize::try_from(place).expect("in range")];
        let earned = now.since(allowance.since).as_nanos() * u128::from(REPORTS_A_SECOND_MAX)
            / 1_000_000_000;
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            allowance.tokens = allowance.tokens.saturating_add(earned).min(REPORTS_BURST);
            allowance.since = now;
        }
        let allowed = allowance.tokens > 0;
        allowance.tokens = allowance.tokens.saturating_sub(1);
        allowed
    }

    fn has_room(&mut self, catalog: &Catalog) -> bool {
        if self.reporters.len() >= REPORTERS_MAX {
            self.reporters
                .retain(|mac, _| catalog.terminal(*mac).is_some());
        }
        self.reporters.len() < REPORTERS_MAX
    }
}

fn half(interval_s: u16) -> Duration {
    Duration::from_millis(u64::from(interval_s) * 500)
}

/// The tag of a datagram.
#[must_use]
pub fn tag(key: &StatusKey, signed: &[u8]) -> Tag {
    let hash = blake3::keyed_hash(&key.0, signed);
    *hash.as_bytes().first_chunk().expect("32 octets")
}

fn answer(key: &StatusKey, mac: Mac, counter: u64, verdict: Verdict) -> [u8; DATAGRAM_BYTES] {
    let repr = Repr {
        mac: mac.0,
        counter,
        content: Content::Answer(verdict),
    };
    repr.emit(|signed| tag(key, signed))
}

/// In a time that does not tell how much of it is right.
fn same(a: Tag, b: Tag) -> bool {
    let padded = |tag: Tag| {
        let mut octets = [0; 32];
        octets[..tag.len()].copy_from_slice(&tag);
        blake3::Hash::from_bytes(octets)
    };
    // Its comparison takes constant time.
    padded(a) == padded(b)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::Ordering;

    use daybreak_store::{Generation, Snapshot, SnapshotBuilder, StoredTerminal};
    use daybreak_tftp::status::{self, Stage};

    use super::*;

    const CARD: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);
    const KEY: StatusKey = StatusKey([9; 32]);
    const START: u64 = 1_000_000;

    fn catalog() -> Catalog {
        let terminal = |name: &str, status_key| StoredTerminal {
            id: name.into(),
            name: name.into(),
            status_key,
            enabled: true,
            seated: true,
            standby: false,
        };
        let keyless = Mac([0x52, 0x54, 0, 0, 0, 2]);
        let mut builder = SnapshotBuilder::new();
        builder.set_terminals(BTreeMap::from([
            (CARD, terminal("kiosk-1", KEY)),
            (keyless, terminal("kiosk-2", StatusKey::NONE)),
        ]));
        let file = builder.build(Generation::new(1).expect("in range"));
        Catalog::detached(Snapshot::parse(file.expect("a catalog")).expect("a catalog"))
    }

    fn report(counter: u64) -> Repr {
        Repr {
            mac: CARD.0,
            counter,
            content: Content::Report(status::Report {
                stage: Stage::Running,
                sessions: 1,
                uptime_s: 60,
                interval_s: 600,
            }),
        }
    }

    fn signed(repr: Repr) -> [u8; DATAGRAM_BYTES] {
        repr.emit(|signed| tag(&KEY, signed))
    }

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    struct Desk(Reports, Catalog, Arc<Tally>);

    impl Desk {
        fn new() -> Self {
            let tally = Arc::<Tally>::default();
            Desk(Reports::new(START, tally.clone()), catalog(), tally)
        }

        fn handle(&mut self, millis: u64, datagram: &[u8]) -> Reaction {
            let source = IpAddr::from([192, 0, 2, 1]);
            self.0.handle(at(millis), source, datagram, &self.1)
        }
    }

    fn verdict(reaction: Reaction) -> Option<(u64, Verdict)> {
        let answer = reaction.answer?;
        let packet = Packet::parse(&answer).expect("an answer");
        assert_eq!(packet.tag(), tag(&KEY, packet.signed()));
        match Repr::parse(&packet).expect("an answer") {
            Repr {
                counter,
                content: Content::Answer(verdict),
                ..
            } => Some((counter, verdict)),
            other => panic!("no answer: {other:?}"),
        }
    }

    #[test]
    fn a_report_is_taken_once_and_its_replay_is_told_where_to_count_from() {
        let mut desk = Desk::new();
        let datagram = signed(report(START + 5));
        let taken = desk.handle(0, &datagram);
        assert_eq!(verdict(taken), Some((START + 5, Verdict::Taken)));
        assert_eq!(
            taken.event.map(|(mac, report)| (mac, report.stage)),
            Some((CARD, 4))
        );
        for _ in 0..3 {
            let replayed = desk.handle(1, &datagram);
            assert_eq!(verdict(replayed), Some((START + 5, Verdict::Stale)));
            assert_eq!(replayed.event, None);
        }
        let older = desk.handle(1, &signed(report(START + 4)));
        assert_eq!(verdict(older), Some((START + 5, Verdict::Stale)));
        let next = desk.handle(1, &signed(report(START + 6)));
        assert_eq!(verdict(next), Some((START + 6, Verdict::Taken)));
    }

    #[test]
    fn what_was_recorded_before_the_start_of_the_engine_is_stale() {
        let mut desk = Desk::new();
        let reaction = desk.handle(0, &signed(report(START)));
        assert_eq!(verdict(reaction), Some((START, Verdict::Stale)));
        // A terminal without a clock goes on from there.
        let reaction = desk.handle(0, &signed(report(START + 1)));
        assert_eq!(verdict(reaction), Some((START + 1, Verdict::Taken)));
    }

    #[test]
    fn a_report_with_any_octet_changed_is_neither_believed_nor_answered() {
        let mut desk = Desk::new();
        let datagram = signed(report(START + 1));
        for at in 0..DATAGRAM_BYTES {
            let mut changed = datagram;
            changed[at] ^= 0x10;
            assert_eq!(desk.handle(0, &changed), Reaction::default(), "octet {at}");
        }
        // Another terminal's key, no key, nobody's card, the answer of an engine, and what is no datagram at all.
        let forged = report(START + 1).emit(|signed| tag(&StatusKey([8; 32]), signed));
        let mut keyless = report(START + 1);
        keyless.mac[5] = 2;
        let keyless = keyless.emit(|signed| tag(&StatusKey::NONE, signed));
        let answer = answer(&KEY, CARD, START + 9, Verdict::Taken);
        for datagram in [
            &forged[..],
            &keyless,
            &answer,
            &[],
            &datagram[..55],
            &[0; 57],
            &[0; 9000],
        ] {
            assert_eq!(desk.handle(0, datagram), Reaction::default());
        }
        assert_eq!(desk.2.status_taken.load(Ordering::Relaxed), 0);
        assert_eq!(
            verdict(desk.handle(0, &datagram)),
            Some((START + 1, Verdict::Taken))
        );
    }

    #[test]
    fn only_what_is_new_is_told_and_the_same_again_before_it_is_old() {
        let mut desk = Desk::new();
        let mut counter = START;
        let mut told = |desk: &mut Desk, millis, change: fn(&mut status::Report)| {
            counter += 1;
            let mut repr = report(counter);
            if let Content::Report(report) = &mut repr.content {
                change(report);
            }
            desk.handle(millis, &signed(repr)).event.is_some()
        };
        assert!(told(&mut desk, 0, |_| {}));
        assert!(!told(&mut desk, 1000, |report| report.uptime_s += 1));
        assert!(told(&mut desk, 2000, |report| report.sessions = 2));
        assert!(told(&mut desk, 3000, |report| report.stage = Stage::Failed));
        assert!(told(&mut desk, 4000, |_| {}));
        assert!(
            told(&mut desk, 5000, |report| report.uptime_s = 0),
            "it was started again"
        );
        assert!(!told(&mut desk, 64_999, |_| {}));
        assert!(told(&mut desk, 65_000, |_| {}));
    }

    #[test]
    fn a_flood_from_one_source_is_bounded_and_does_not_shut_out_others() {
        let mut desk = Desk::new();
        let forged = report(1).emit(|_| [0; 16]);
        for _ in 0..100_000 {
            desk.handle(1, &forged);
        }
        let looked_at = desk.2.status_forged.load(Ordering::Relaxed);
        assert!(looked_at <= u64::from(REPORTS_BURST) + 1, "{looked_at}");
        let mut served = 0;
        for host in 2..=255 {
            let datagram = signed(report(START + u64::from(host)));
            let source = IpAddr::from([192, 0, 2, host]);
            let reaction = desk.0.handle(at(1), source, &datagram, &desk.1);
            served += usize::from(reaction.answer.is_some());
        }
        assert!(
            served > 240,
            "only who shares the place is shut out: {served}"
        );
        // And the source itself gets on when it becomes calm.
        assert!(
            desk.handle(60_000, &signed(report(START + 1000)))
                .answer
                .is_some()
        );
    }
}
