//! Worlds that are made for one question: two servers, a wire without delay, and whoever sits on it.

use std::time::Duration;

use daybreak_sync::host::{Host, Write, edited};
use daybreak_sync::limits::{PING_EVERY, REQUESTS_MAX, SILENCE_MAX};
use daybreak_sync::policy::{Mode, Refusal, Role};
use daybreak_sync::session::{Config, Now, Session, State};
use daybreak_sync::wire::Message;
use daybreak_sync::{Body, ImageHash, ImageRef, ObjectKey, Row};
use daybreak_tests::world::prng::Prng;

use super::disk::{Disk, DiskFaults};

struct Side {
    disk: Disk,
    session: Session,
    /// Everything that it said.
    said: Vec<Vec<u8>>,
}

fn now(millis: u64) -> Now {
    Now {
        time: Duration::from_millis(millis),
        wall_ms: 1_790_000_000_000 + millis,
    }
}

fn at(time: Duration) -> Now {
    Now { time, ..now(0) }
}

fn side(name: &'static str, config: Config) -> Side {
    let mut disk = Disk::new(1, name, DiskFaults::default());
    disk.faults = None;
    let session = Session::new(config, &mut disk).expect("a healthy disk");
    Side {
        disk,
        session,
        said: Vec::new(),
    }
}

fn pair(ours: Config, theirs: Config) -> [Side; 2] {
    [side("a", ours), side("b", theirs)]
}

impl Side {
    fn edit(&mut self, id: &str, says: &str, images: &[ImageRef]) {
        let key = ObjectKey::parse("terminal", id).expect("a key");
        let body = Body {
            octets: says.as_bytes().into(),
            images: images.into(),
        };
        let before = self.row(id);
        let edit = |database: &mut super::disk::Database| {
            let stamp = database.clock.stamp(now(0).wall_ms);
            let (write, _) = edited(&mut database.book, before.as_ref(), &key, stamp, Some(body));
            assert!(matches!(write, Write::Put { .. }));
            database.write(write, Duration::ZERO);
        };
        self.disk.commit(edit).expect("a healthy disk");
        self.session.changed(now(0), &mut self.disk);
    }

    fn row(&self, id: &str) -> Option<Row> {
        let key = ObjectKey::parse("terminal", id).expect("a key");
        let stored = self.disk.database.rows.get(&key)?;
        Some(stored.row.clone())
    }

    fn says(&self, id: &str) -> Option<String> {
        let row = self.row(id)?;
        let body = row.body()?.octets.to_vec();
        Some(String::from_utf8(body).expect("text"))
    }

    /// Hears this, and answers nothing.
    fn hears(&mut self, message: &Message) {
        let octets = message.encode(1);
        self.session.handle(now(0), &octets, &mut self.disk);
    }

    fn transmit(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        while let Some(octets) = self.session.poll_transmit(now(0), &mut self.disk) {
            sent.push(octets);
        }
        self.said.extend(sent.iter().cloned());
        sent
    }
}

fn connect(sides: &mut [Side; 2]) {
    for side in &mut *sides {
        side.session.connected(now(0), &mut side.disk);
    }
    talk(sides);
}

fn disconnect(sides: &mut [Side; 2]) {
    for side in sides {
        side.session.disconnected(now(0));
    }
}

/// Until neither has anything to say.
fn talk(sides: &mut [Side; 2]) {
    for _ in 0..10_000 {
        let mut silent = true;
        for from in 0..2 {
            for octets in sides[from].transmit() {
                silent = false;
                let to = &mut sides[1 - from];
                to.session.handle(now(0), &octets, &mut to.disk);
            }
        }
        if silent {
            return;
        }
    }
    panic!("they never stop");
}

fn states(sides: &[Side; 2]) -> [State; 2] {
    [0, 1].map(|at| sides[at].session.state())
}

#[test]
fn c98_a_change_is_on_the_other_server_in_one_exchange_with_its_image_first() {
    let mut sides = pair(Config::default(), Config::default());
    connect(&mut sides);
    let content = vec![5; 200_000];
    let image = sides[0].disk.upload(content).expect("a healthy disk");
    sides[0].edit("x", "firmware", &[image]);
    talk(&mut sides);
    assert_eq!(sides[1].says("x").as_deref(), Some("firmware"));
    assert!(sides[1].disk.has_image(image).expect("readable"));
    assert_eq!(states(&sides), [State::InSync, State::InSync]);
    let kinds: Vec<Message> = sides[0]
        .said
        .iter()
        .map(|octets| Message::decode(octets, &(1..=1)).expect("well formed"))
        .collect();
    assert!(
        kinds
            .iter()
            .any(|message| matches!(message, Message::Piece { .. }))
    );
}

#[test]
fn c100_divergent_edits_are_a_conflict_on_both_and_nothing_is_lost() {
    let mut sides = pair(Config::default(), Config::default());
    connect(&mut sides);
    disconnect(&mut sides);
    sides[0].edit("x", "ours", &[]);
    sides[1].edit("x", "theirs", &[]);
    connect(&mut sides);
    assert_eq!(sides[0].row("x"), sides[1].row("x"));
    let row = sides[0].row("x").expect("there");
    assert_eq!((row.values().len(), row.conflicts().count()), (2, 1));
    let conflict = State::Conflict { objects: 1 };
    assert_eq!(states(&sides), [conflict.clone(), conflict]);
}

#[test]
fn s10_a_replaced_server_is_refused_and_what_only_it_knows_becomes_a_conflict() {
    let mut sides = pair(Config::default(), Config::default());
    sides[0].edit("x", "agreed", &[]);
    connect(&mut sides);
    disconnect(&mut sides);
    sides[1].edit("x", "late", &[]);
    sides[1].edit("y", "late, too", &[]);
    // The survivor was paired with another in the meantime.
    sides[0]
        .disk
        .commit(|database| database.book.epoch += 1)
        .expect("a healthy disk");
    sides[0].edit("x", "newer", &[]);
    let replaced = sides[1].disk.database.book.clone();
    connect(&mut sides);
    assert_eq!(sides[1].session.state(), State::Refused(Refusal::Replaced));
    assert_eq!(sides[0].says("x").as_deref(), Some("newer"));
    assert_eq!(sides[0].says("y"), None);
    for id in ["x", "y"] {
        let row = sides[0].row(id).expect("a conflict");
        assert_eq!(
            row.conflicts().filter(|value| value.late).count(),
            1,
            "{id}"
        );
    }
    // It has heard nothing, and what it says again says nothing new.
    assert_eq!(sides[1].disk.database.book.heads, replaced.heads);
    assert_eq!(sides[1].says("x").as_deref(), Some("late"));
    let book = sides[0].disk.database.book.clone();
    disconnect(&mut sides);
    connect(&mut sides);
    assert_eq!(sides[0].disk.database.book, book);
}

#[test]
fn s10_a_replaced_server_is_heard_beside_its_successor_and_both_have_the_conflicts() {
    let mut pair_of_old = pair(Config::default(), Config::default());
    pair_of_old[0].edit("x", "agreed", &[]);
    connect(&mut pair_of_old);
    disconnect(&mut pair_of_old);
    let [mut survivor, mut replaced] = pair_of_old;
    replaced.edit("x", "late", &[]);
    replaced.edit("y", "late, too", &[]);
    survivor.edit("x", "newer", &[]);
    let mut sides = [survivor, side("c", Config::default())];
    // Whatever its epoch is: by its key it is known to be the replaced one.
    for side in sides.iter_mut().chain([&mut replaced]) {
        side.disk
            .commit(|database| database.book.epoch = 7)
            .expect("a healthy disk");
    }
    connect(&mut sides);
    assert_eq!(states(&sides), [State::InSync, State::InSync]);
    let heard = sides[0].disk.database.book.heard;

    // A second session on the survivor's database, while the first one goes on.
    let [mut survivor, successor] = sides;
    let only_asks = Config {
        replaced: true,
        ..Config::default()
    };
    let second = Session::new(only_asks, &mut survivor.disk).expect("a healthy disk");
    let first = std::mem::replace(&mut survivor.session, second);
    let before = replaced.disk.database.rows.len();
    let mut back = [survivor, replaced];
    connect(&mut back);
    assert_eq!(back[1].session.state(), State::Refused(Refusal::Replaced));
    assert_eq!(back[1].disk.database.rows.len(), before);
    assert_eq!(back[0].disk.database.book.heard, heard, "of the successor");
    let [mut survivor, _] = back;
    survivor.session = first;
    survivor.session.changed(now(0), &mut survivor.disk);
    let mut sides = [survivor, successor];
    talk(&mut sides);
    let conflicts = State::Conflict { objects: 2 };
    assert_eq!(states(&sides), [conflicts.clone(), conflicts]);
    for side in &sides {
        assert_eq!(side.says("x").as_deref(), Some("newer"));
        assert_eq!(side.says("y"), None);
    }
}

#[test]
fn s13_a_conversation_that_is_replayed_changes_nothing() {
    let mut sides = pair(Config::default(), Config::default());
    for (at, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
        sides[at % 2].edit(id, id, &[]);
    }
    connect(&mut sides);
    sides[0].edit("a", "once more", &[]);
    talk(&mut sides);
    let recorded = sides[0].said.clone();
    let before = (
        sides[1].disk.database.book.clone(),
        sides[1].disk.database.rows.clone(),
    );
    for start in 0..recorded.len() {
        disconnect(&mut sides);
        let side = &mut sides[1];
        side.session.connected(now(0), &mut side.disk);
        for octets in &recorded[start..] {
            side.session.handle(now(0), octets, &mut side.disk);
            side.transmit();
        }
        assert_eq!(side.disk.database.rows, before.1, "from {start}");
        assert_eq!(
            side.disk.database.book.heads, before.0.heads,
            "from {start}"
        );
    }
    disconnect(&mut sides);
    connect(&mut sides);
    assert_eq!(states(&sides), [State::InSync, State::InSync]);
}

#[test]
fn s14_servers_with_a_version_in_common_meet_and_others_say_so() {
    let speaking = |versions: std::ops::RangeInclusive<u16>| Config {
        versions,
        ..Config::default()
    };
    for (ours, theirs, meet) in [
        (1..=1, 1..=2, true),
        (1..=3, 2..=2, true),
        (2..=3, 1..=2, true),
        (1..=1, 2..=2, false),
        (1..=2, 3..=5, false),
    ] {
        let mut sides = pair(speaking(ours.clone()), speaking(theirs.clone()));
        sides[0].edit("x", "ours", &[]);
        connect(&mut sides);
        let expected = if meet {
            State::InSync
        } else {
            State::IncompatibleVersion
        };
        assert_eq!(
            states(&sides),
            [expected.clone(), expected],
            "{ours:?} {theirs:?}"
        );
        assert_eq!(sides[1].says("x").is_some(), meet);
    }
}

#[test]
fn s14_a_message_of_another_version_in_the_middle_is_told_by_both_and_they_meet_again() {
    let mut sides = pair(Config::default(), Config::default());
    connect(&mut sides);
    assert_eq!(states(&sides), [State::InSync, State::InSync]);
    for version in [0, 2, u16::MAX] {
        let ping = Message::Ping { wall_ms: 0 }.encode(version);
        let side = &mut sides[0];
        side.session.handle(now(0), &ping, &mut side.disk);
        assert!(side.session.wants_close());
        talk(&mut sides);
        let incompatible = State::IncompatibleVersion;
        assert_eq!(states(&sides), [incompatible.clone(), incompatible]);
        // Operators go on, and what they do is not lost.
        let said = format!("beside version {version}");
        sides[0].edit("x", &said, &[]);
        disconnect(&mut sides);
        connect(&mut sides);
        assert_eq!(states(&sides), [State::InSync, State::InSync]);
        assert_eq!(sides[1].says("x"), Some(said));
    }
}

#[test]
fn two_primaries_of_a_mirrored_pair_and_a_copy_of_a_server_are_refused() {
    let mirrored = |role| Config {
        mode: Mode::Mirrored,
        role,
        ..Config::default()
    };
    let mut sides = pair(mirrored(Role::Primary), mirrored(Role::Primary));
    connect(&mut sides);
    assert_eq!(
        states(&sides),
        [State::Refused(Refusal::Role), State::Refused(Refusal::Role)]
    );
    let mut sides = pair(mirrored(Role::Primary), mirrored(Role::Secondary));
    connect(&mut sides);
    assert_eq!(states(&sides), [State::InSync, State::InSync]);

    let mut copies = [side("a", Config::default()), side("a", Config::default())];
    connect(&mut copies);
    assert_eq!(copies[0].session.state(), State::Refused(Refusal::Itself));
}

#[test]
fn a_server_that_is_switched_off_says_so_and_nothing_else() {
    let off = Config {
        enabled: false,
        ..Config::default()
    };
    let mut sides = pair(off.clone(), Config::default());
    for side in &mut sides {
        side.edit(side.disk.name, "here", &[]);
    }
    connect(&mut sides);
    let disabled = [State::Disabled, State::DisabledThere];
    assert_eq!(states(&sides), disabled);
    assert_eq!(sides[0].said, [Message::Refuse(Refusal::Off).encode(1)]);
    assert_eq!((sides[0].says("b"), sides[1].says("a")), (None, None));
    disconnect(&mut sides);
    assert_eq!(states(&sides), disabled);
    // On again, off while they speak.
    sides[0].session.configure(now(0), Config::default());
    connect(&mut sides);
    assert_eq!(states(&sides), [State::InSync, State::InSync]);
    sides[0].session.configure(now(0), off);
    talk(&mut sides);
    assert!(sides.iter().all(|side| side.session.wants_close()));
    assert_eq!(states(&sides), disabled);
}

#[test]
fn another_mode_is_told_over_the_connection_that_there_is() {
    let config = |mode, role| Config {
        mode,
        role,
        ..Config::default()
    };
    let mut sides = pair(
        config(Mode::Full, Role::Primary),
        config(Mode::Full, Role::Secondary),
    );
    connect(&mut sides);
    // In the middle of something, and the other one a while later.
    sides[0].edit("x", "here", &[]);
    sides[1].edit("y", "there", &[]);
    for (at, role) in [(0, Role::Primary), (1, Role::Secondary)] {
        let mirrored = config(Mode::Mirrored, role);
        sides[at].session.configure(now(0), mirrored);
        talk(&mut sides);
        assert_eq!(states(&sides), [State::InSync, State::InSync]);
    }
    for side in &sides {
        assert!(!side.session.wants_close());
        let peer = side.session.status().peer.expect("it has said");
        assert_eq!(peer.mode, Mode::Mirrored);
    }
    let same = config(Mode::Mirrored, Role::Primary);
    sides[1].session.configure(now(0), same);
    talk(&mut sides);
    assert_eq!(
        states(&sides),
        [State::Refused(Refusal::Role), State::Refused(Refusal::Role)]
    );
}

#[test]
fn s15_a_peer_that_asks_without_end_is_closed_and_one_that_is_silent_is_unreachable() {
    let mut sides = pair(Config::default(), Config::default());
    sides[0].edit("x", "here", &[]);
    connect(&mut sides);
    let image = ImageRef {
        hash: ImageHash([9; 32]),
        bytes: 1 << 40,
    };
    for index in 0..REQUESTS_MAX as u32 + 1 {
        assert!(!sides[0].session.wants_close());
        sides[0].hears(&Message::Ask { image, index });
    }
    assert!(sides[0].session.wants_close());
    assert_eq!(sides[0].session.state(), State::Refused(Refusal::TooMuch));
    // Operators go on, and an honest peer is served.
    sides[0].edit("x", "still here", &[]);
    disconnect(&mut sides);
    connect(&mut sides);
    assert_eq!(sides[1].says("x").as_deref(), Some("still here"));

    // Silence is that of the other: whoever was kept by its own disk has heard nothing meanwhile.
    let side = &mut sides[0];
    let kept = SILENCE_MAX * 3;
    side.session.handle_timeout(at(kept), &mut side.disk);
    assert!(!side.session.wants_close());
    let silent_since = kept - PING_EVERY;
    let mut time = kept;
    while !side.session.wants_close() {
        assert!(time <= silent_since + SILENCE_MAX);
        assert!(!side.session.is_unheard());
        time = side.session.poll_timeout().expect("a time").max(time);
        side.session.handle_timeout(at(time), &mut side.disk);
    }
    assert_eq!(time, silent_since + SILENCE_MAX);
    // Nothing is waited for that cannot be sent.
    assert!(side.session.is_unheard());
    assert_eq!(side.session.state(), State::PeerUnreachable);
}

#[test]
fn s15_an_image_that_takes_long_to_read_keeps_no_change_and_no_other_image() {
    let mut sides = pair(Config::default(), Config::default());
    connect(&mut sides);
    let mut upload = |octet| sides[0].disk.upload(vec![octet; 200_000]).expect("healthy");
    let (large, small) = (upload(1), upload(2));
    sides[0].disk.parts = 1000;
    sides[0].edit("x", "large", &[large]);
    talk(&mut sides);
    sides[0].edit("y", "meanwhile", &[]);
    talk(&mut sides);
    assert_eq!(sides[1].says("y").as_deref(), Some("meanwhile"));
    assert!(sides[1].says("x").is_none() && sides[0].disk.parts > 900);
    assert!(sides[0].session.speaks_at().is_some(), "it goes on");
    sides[0].edit("z", "small", &[small]);
    // Soon read, and slow to be written where it comes.
    (sides[0].disk.parts, sides[1].disk.parts) = (20, 20);
    for _ in 0..1000 {
        talk(&mut sides);
        let side = &mut sides[1];
        side.session.handle_timeout(now(0), &mut side.disk);
    }
    assert_eq!(sides[1].says("x").as_deref(), Some("large"));
    assert_eq!(sides[1].says("z").as_deref(), Some("small"));
    assert_eq!(states(&sides), [State::InSync, State::InSync]);
}

#[test]
fn s15_no_octets_of_a_peer_stop_a_server_or_change_it() {
    let mut sides = pair(Config::default(), Config::default());
    for id in ["a", "b", "c"] {
        sides[0].edit(id, id, &[]);
    }
    connect(&mut sides);
    let recorded = sides[0].said.clone();
    let rows = sides[1].disk.database.rows.clone();
    let mut dice = Prng::new(1, "octets");
    for _ in 0..3000 {
        let side = &mut sides[1];
        side.session.connected(now(0), &mut side.disk);
        for octets in &recorded {
            let mut octets = octets.clone();
            // In the head and the numbers, not in what a row says: who holds the key may say anything there.
            let at = dice.count(4, octets.len().min(60) - 1);
            if dice.chance(300) {
                octets[at] = dice.word() as u8;
            }
            if dice.chance(50) {
                octets.truncate(at);
            }
            side.session.handle(now(0), &octets, &mut side.disk);
            side.transmit();
        }
    }
    assert_eq!(sides[1].disk.database.rows.keys().count(), rows.len());
    for (key, stored) in &sides[1].disk.database.rows {
        assert_eq!(stored.row.body(), rows[key].row.body(), "{key}");
    }
}
