//! The journal: what was appended is read, once, in order; what was torn is passed over.

use core::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::Mac;
use crate::disk::{Disk, Fault, Faulty, Model, PowerLoss};
use crate::layout;
use crate::limits::JOURNAL_RECORD_BYTES_MAX;

fn finished(number: u64) -> Event {
    Event {
        time_ms: number,
        what: What::BootFinished {
            client: Client {
                address: Some(IpAddr::from([192, 0, 2, 1])),
                server: None,
                mac: Some(Mac([0x52, 0x54, 0, 0, 0, 1])),
                source: Source::Name,
                terminal: Some(Terminal {
                    id: "0123456789abcdef".into(),
                    name: "kiosk-7".into(),
                }),
            },
            file: "terminals/52:54:00:00:00:01.json".into(),
            octets: number,
            duration_ms: 3,
            boot: Some((100, 200)),
        },
    }
}

fn events(numbers: core::ops::Range<u64>) -> Vec<Event> {
    numbers.map(finished).collect()
}

/// Everything that can be read, and the files that have something at their ends that cannot.
fn read_all(disk: &Model) -> (Vec<Event>, usize) {
    let journal = Journal::on(disk.clone());
    let (mut events, mut torn) = (Vec::new(), 0);
    for file in journal.files().expect("list") {
        let mut position = Position::start_of(file);
        loop {
            let batch = journal.read(position).expect("read");
            assert_eq!(batch.unknown, 0);
            events.extend(batch.events);
            position = batch.next;
            if !batch.more {
                torn += usize::from(batch.torn);
                break;
            }
        }
    }
    (events, torn)
}

#[test]
fn what_is_appended_is_read_in_order_and_a_follower_sees_each_once() {
    let disk = Model::new();
    let mut writer = JournalWriter::on(disk.clone());
    let journal = Journal::on(disk.clone());
    let mut position = Position::start_of(1);
    let mut seen = Vec::new();
    for round in 0..10 {
        writer
            .append(&events(round * 10..round * 10 + 10))
            .expect("append");
        let batch = journal.read(position).expect("read");
        assert!(!batch.torn && !batch.more);
        seen.extend(batch.events);
        position = batch.next;
    }
    assert_eq!(seen, events(0..100));
    assert_eq!(read_all(&disk), (events(0..100), 0));
    // Another engine begins another file.
    JournalWriter::on(disk.clone())
        .append(&events(100..101))
        .expect("append");
    assert_eq!(journal.files().expect("list"), [1, 2]);
    assert_eq!(read_all(&disk), (events(0..101), 0));
}

#[test]
fn more_than_is_read_at_a_time_is_read_piece_by_piece() {
    let disk = Model::new();
    let mut writer = JournalWriter::on(disk.clone());
    writer.append(&events(0..5000)).expect("append");
    assert!(
        Journal::on(disk.clone())
            .read(Position::start_of(1))
            .expect("read")
            .more
    );
    assert_eq!(read_all(&disk), (events(0..5000), 0));
}

#[test]
fn a_file_is_bounded_and_so_are_all_of_them_and_the_oldest_go_first() {
    let disk = Model::new();
    let mut writer = JournalWriter::on(disk.clone()).with_bounds(1000, 5000);
    for number in 0..200 {
        writer.append(&[finished(number)]).expect("append");
        let files = Journal::on(disk.clone()).files().expect("list");
        let bytes: u64 = files
            .iter()
            .map(|file| {
                let file = disk.open_file(&layout::journal(*file)).expect("open");
                disk.stat(&file).expect("stat").len
            })
            .sum();
        assert!(bytes <= 5000 + 300, "{bytes}");
    }
    let (read, torn) = read_all(&disk);
    assert_eq!(torn, 0);
    let first = read.first().expect("some are left").time_ms;
    assert!(first > 100);
    assert_eq!(read, events(first..200));
    assert!(writer.counters().files_removed > 10);
}

#[test]
fn a_tail_torn_at_any_octet_costs_what_is_in_it_and_nothing_else() {
    let disk = Model::new();
    let mut writer = JournalWriter::on(disk.clone());
    writer.append(&events(0..3)).expect("append");
    let whole = content(&disk, 1);
    let mut most = 0;
    for cut in 0..=whole.len() {
        let disk = Model::new();
        put(&disk, 1, &whole[..cut]);
        let (read, _) = read_all(&disk);
        assert_eq!(read, events(0..read.len() as u64), "cut at {cut}");
        assert!(read.len() >= most);
        most = read.len();
        // The engine that comes after it begins behind it.
        let mut next = JournalWriter::on(disk.clone());
        next.append(&events(10..12)).expect("append");
        let (after, _) = read_all(&disk);
        assert_eq!(after, [read, events(10..12)].concat());
    }
    assert_eq!(most, 3);
}

#[test]
fn a_changed_octet_ends_what_is_read_of_its_file() {
    let disk = Model::new();
    let mut writer = JournalWriter::on(disk.clone());
    writer.append(&events(0..3)).expect("append");
    let whole = content(&disk, 1);
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x40;
        let disk = Model::new();
        put(&disk, 1, &changed);
        let (read, torn) = read_all(&disk);
        assert!(read.len() < 3 && torn == 1, "octet {at}");
        assert_eq!(read, events(0..read.len() as u64), "octet {at}");
    }
    // A file under another number is not taken for that one.
    let disk = Model::new();
    put(&disk, 2, &whole);
    assert_eq!(read_all(&disk), (Vec::new(), 1));
}

#[test]
fn whatever_the_disk_refuses_what_was_appended_is_there_once_and_writing_goes_on() {
    for fault in [Fault::Once, Fault::From, Fault::FullFrom] {
        for number in 0..200 {
            let disk = Model::new();
            let faulty = Faulty::new(disk.clone(), fault(number));
            let mut writer = JournalWriter::on(faulty.clone()).with_bounds(500, 4000);
            let mut appended = Vec::new();
            for number in 0..10 {
                if writer.append(&[finished(number)]).is_ok() {
                    appended.push(number);
                }
            }
            let done = faulty.failed() == 0;
            faulty.plan(Fault::None);
            writer.append(&events(10..11)).expect("append");
            appended.push(10);
            let (read, _) = read_all(&disk);
            let read: Vec<u64> = read.iter().map(|event| event.time_ms).collect();
            assert!(
                read.windows(2).all(|pair| pair[0] < pair[1]),
                "once and in order: {read:?}"
            );
            assert!(
                appended.iter().all(|number| read.contains(number)),
                "{appended:?} in {read:?}"
            );
            if done {
                assert!(number > 10, "faults were met");
                break;
            }
        }
    }
}

#[test]
fn after_a_loss_of_power_the_beginning_is_there() {
    let disk = Model::new();
    let mut writer = JournalWriter::on(disk.clone()).with_bounds(1000, 50_000);
    for number in 0..30 {
        writer.append(&[finished(number)]).expect("append");
    }
    for seed in 0..50 {
        let later = disk.after_power_loss(PowerLoss::Some(seed));
        // Every file may have lost its end, or all of it: what is read was written, in order.
        let (read, _) = read_all(&later);
        let times: Vec<u64> = read.iter().map(|event| event.time_ms).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
        let mut next = JournalWriter::on(later.clone());
        next.append(&events(90..91)).expect("append");
        assert!(read_all(&later).0.contains(&finished(90)));
    }
}

fn content(disk: &Model, number: u64) -> Vec<u8> {
    let file = disk.open_file(&layout::journal(number)).expect("open");
    let len = usize::try_from(disk.stat(&file).expect("stat").len).expect("small");
    let mut content = vec![0; len];
    assert_eq!(disk.read_at(&file, 0, &mut content).expect("read"), len);
    content
}

fn put(disk: &Model, number: u64, content: &[u8]) {
    let _ = disk.create_folder(layout::EVENTS, layout::EVENTS_MODE);
    let mut file = disk
        .create_file(&layout::journal(number), layout::JOURNAL_MODE)
        .expect("create");
    disk.write(&mut file, content).expect("write");
}

fn clients() -> impl Strategy<Value = Client> {
    let address = || prop::option::of(any::<IpAddr>());
    let source = prop_oneof![
        Just(Source::Anonymous),
        Just(Source::Name),
        Just(Source::Address),
        Just(Source::Key)
    ];
    let terminal = ("\\PC{0,300}", "\\PC{0,40}").prop_map(|(id, name)| Terminal { id, name });
    let card = prop::option::of(any::<[u8; 6]>().prop_map(Mac));
    let parts = (
        address(),
        address(),
        card,
        source,
        prop::option::of(terminal),
    );
    parts.prop_map(|(address, server, mac, source, terminal)| Client {
        address,
        server,
        mac,
        source,
        terminal,
    })
}

/// Each kind in a box of its own: unoptimised, all of them side by side would not fit on a stack.
fn whats() -> impl Strategy<Value = What> {
    let file = || "\\PC{0,300}".boxed();
    let stage = prop_oneof![
        Just(Stage::Script),
        Just(Stage::Firmware),
        Just(Stage::Other)
    ];
    let why = prop_oneof![
        Just(Why::TimedOut),
        any::<u16>().prop_map(Why::Aborted),
        Just(Why::SendFailed),
        Just(Why::ShutDown)
    ];
    let cause = prop_oneof![Just(Cause::Queue), Just(Cause::Disk)];
    let report =
        any::<(u8, u16, u32, u16)>().prop_map(|(stage, sessions, uptime_s, interval_s)| Report {
            stage,
            sessions,
            uptime_s,
            interval_s,
        });
    let refused = prop_oneof![Just(Refused::NoSeat), Just(Refused::Standby)];
    let numbers = any::<(u64, u64)>;
    prop_oneof![
        "\\PC{0,300}"
            .prop_map(|version| What::EngineStarted { version })
            .boxed(),
        Just(What::EngineStopped).boxed(),
        (clients().boxed(), file())
            .prop_map(|(client, file)| What::BootStarted { client, file })
            .boxed(),
        (clients().boxed(), stage, file(), numbers())
            .prop_map(
                |(client, stage, file, (octets, duration_ms))| What::Progress {
                    client,
                    stage,
                    file,
                    octets,
                    duration_ms
                }
            )
            .boxed(),
        (
            clients().boxed(),
            file(),
            numbers(),
            prop::option::of(numbers())
        )
            .prop_map(
                |(client, file, (octets, duration_ms), boot)| What::BootFinished {
                    client,
                    file,
                    octets,
                    duration_ms,
                    boot
                }
            )
            .boxed(),
        (clients().boxed(), file(), numbers(), why)
            .prop_map(
                |(client, file, (octets, duration_ms), why)| What::BootFailed {
                    client,
                    file,
                    octets,
                    duration_ms,
                    why
                }
            )
            .boxed(),
        (clients().boxed(), report)
            .prop_map(|(client, report)| What::Status { client, report })
            .boxed(),
        (clients().boxed(), file())
            .prop_map(|(client, file)| What::UnknownTerminal { client, file })
            .boxed(),
        (clients().boxed(), file(), refused)
            .prop_map(|(client, file, why)| What::BootRefused { client, file, why })
            .boxed(),
        (any::<u64>(), cause)
            .prop_map(|(events, cause)| What::Lost { events, cause })
            .boxed(),
    ]
}

proptest! {
    #[test]
    fn every_event_is_read_as_it_was_written(time_ms: u64, what in whats()) {
        let mut octets = Vec::new();
        Event { time_ms, what }.emit(&mut octets);
        prop_assert!(octets.len() <= JOURNAL_RECORD_BYTES_MAX);
        let read = Event::parse(&octets).expect("an event");
        // Long texts were cut; what is read is written the same.
        let mut again = Vec::new();
        read.emit(&mut again);
        prop_assert_eq!(&again, &octets);
        for cut in 0..octets.len() {
            prop_assert!(Event::parse(&octets[..cut]).is_err());
        }
        octets.push(0);
        prop_assert_eq!(Event::parse(&octets), Err(EventError::Malformed));
    }

    #[test]
    fn arbitrary_octets_are_an_event_or_an_error(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(event) = Event::parse(&octets) {
            let mut again = Vec::new();
            event.emit(&mut again);
            prop_assert_eq!(again, octets);
        }
    }
}
