//! The link of a server, and at the other end one that has the right key and does not do what is agreed.

use std::path::Path;
use std::sync::Mutex;

use daybreak_sync::host::Batch;
use daybreak_sync::limits::VALUES_MAX;
use daybreak_sync::policy::{self, Mode, Refusal};
use daybreak_sync::wire::{Frames, Hello, Message, Page};
use daybreak_sync::{
    Body, Completion, Digest, Dot, Head, Heads, NodeId, ObjectKey, Row, Stamp, Value, Version,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::configuration::Edit;
use crate::edge::Machine;
use crate::events::Follower;
use crate::kind::{self, Kind};
use crate::licences::MACHINE_ID;
use crate::peer::handshake::{Stream, connect};
use crate::peer::questions::next_frame;
use crate::peer::tls::{self, Purpose, Trust};
use crate::publish::Publisher;

const PATIENCE: Duration = Duration::from_secs(30);
/// How long the other server may say nothing here.
const SILENCE: Duration = Duration::from_millis(300);

/// A server without anything but its link.
struct Side {
    link: Link,
    configuration: Arc<Configuration>,
    key: NodeKey,
    noticed: Arc<Mutex<Vec<EventRow>>>,
    _dir: TempDir,
}

impl Side {
    fn new(pair: &Pair) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        let store = || Store::open(&data).expect("a store");
        let _ = store();
        let keys = data.join("keys");
        std::fs::create_dir_all(&keys).expect("own folder");
        let key = NodeKey::open(&keys).expect("a key");
        PairFile::of(&keys).write(pair).expect("own folder");
        let configuration = Configuration::open(
            &data.join("config.db"),
            Arc::new(Machine),
            Arc::new(Machine),
        );
        let configuration = Arc::new(configuration.expect("a database"));
        let licences = Licences::open(&data, Path::new(MACHINE_ID), Arc::clone(&configuration));
        let licences = Arc::new(licences.expect("no licences"));
        let follower = Follower::start(&data, Arc::clone(&configuration), Box::new(|| {}));
        let lookout = Lookout::open(
            Arc::clone(&configuration),
            Arc::clone(&licences),
            Arc::new(follower.expect("a thread")),
        );
        let publisher = Publisher::start(Arc::clone(&configuration), store());
        let backups = Backups::open(
            Arc::clone(&configuration),
            store(),
            Arc::new(publisher.expect("a thread")),
            Box::new(|_| {}),
        );
        let noticed = Arc::<Mutex<Vec<EventRow>>>::default();
        let kept = Arc::clone(&noticed);
        let link = Link::start(
            Settings {
                data: data.clone(),
                listen: "127.0.0.1:0".parse().expect("an address"),
                name: "a".into(),
                silence: SILENCE,
            },
            Arc::clone(&configuration),
            (licences, Arc::new(lookout.expect("a database"))),
            Arc::new(backups.expect("a folder")),
            || {},
            move |row| kept.lock().expect("no panic").push(row),
        );
        Side {
            link: link.expect("a thread"),
            configuration,
            key,
            noticed,
            _dir: dir,
        }
    }

    fn state(&self) -> Option<State> {
        let status = self.link.status();
        status.session.as_ref().map(|session| session.state.clone())
    }
}

fn key() -> NodeKey {
    let folder = tempfile::tempdir().expect("a folder");
    NodeKey::open(folder.path()).expect("a key")
}

/// The other server, at this address.
fn partner(key: &NodeKey, address: String) -> Partner {
    Partner {
        name: "b".into(),
        address,
        key: key.public().clone(),
        dials: false,
        since_ms: 0,
    }
}

fn run<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let patient = async { tokio::time::timeout(PATIENCE, work).await };
    let done = runtime.expect("a runtime").block_on(patient);
    done.expect("it ends in time")
}

async fn until<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = ready() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn say(stream: &mut Box<dyn Stream>, octets: &[u8]) {
    stream.write_all(octets).await.expect("it reads");
    stream.flush().await.expect("it reads");
}

/// The next message that `wanted` knows.
async fn heard<T>(
    (stream, frames): (&mut Box<dyn Stream>, &mut Frames),
    wanted: impl Fn(Message) -> Option<T>,
) -> T {
    loop {
        let octets = next_frame(stream, frames).await.expect("frames");
        let message = Message::decode(&octets.expect("it goes on"), &(1..=1));
        if let Some(found) = message.ok().and_then(&wanted) {
            return found;
        }
    }
}

fn hello() -> Message {
    Message::Hello(Hello {
        versions: (1, 1),
        node: NodeId::from_random([7; 8]),
        epoch: 0,
        mode: Mode::None,
        role: policy::Role::Secondary,
        name: "b".into(),
        software: "another one".into(),
        wall_ms: 0,
        heard: None,
        heads: Heads::default(),
        digest: Digest::default(),
    })
}

/// A connection of the other server, which has said who it is and was understood.
async fn greeted(side: &Side, theirs: &NodeKey) -> (Box<dyn Stream>, Frames) {
    let address = until(|| side.link.status().listening).await.to_string();
    let ours = side.key.public();
    let stream = connect(theirs, ours, &address, Purpose::Link).await;
    greeted_by(side, stream.expect("the right key")).await
}

async fn greeted_by(side: &Side, mut stream: Box<dyn Stream>) -> (Box<dyn Stream>, Frames) {
    let mut frames = Frames::default();
    say(&mut stream, &hello().encode(1)).await;
    heard((&mut stream, &mut frames), |message| {
        matches!(message, Message::Hello(_)).then_some(())
    })
    .await;
    let refuses = |state: &State| matches!(state, State::IncompatibleVersion | State::Refused(_));
    until(|| side.state().filter(|state| !refuses(state))).await;
    (stream, frames)
}

#[test]
fn s14_a_frame_of_another_version_within_a_connection_is_told_to_both_and_the_next_connection_is_taken()
 {
    let theirs = key();
    let side = Side::new(&Pair {
        partner: Some(partner(&theirs, "127.0.0.1:9".into())),
        ..Pair::default()
    });
    let of_licences = [0, 0, 0, 3, 0, 9, 0x80].to_vec();
    run(async {
        for frame in [Message::Ping { wall_ms: 0 }.encode(2), of_licences] {
            let (mut stream, mut frames) = greeted(&side, &theirs).await;
            say(&mut stream, &frame).await;
            let refusal = heard((&mut stream, &mut frames), |message| match message {
                Message::Refuse(refusal) => Some(refusal),
                _ => None,
            });
            assert_eq!(refusal.await, Refusal::Version);
            until(|| (side.state() == Some(State::IncompatibleVersion)).then_some(())).await;
        }
        let _ = greeted(&side, &theirs).await;
    });
    let noticed = side.noticed.lock().expect("no panic");
    let mut told = noticed.iter().map(|row| &row.details["what"]);
    assert!(told.any(|what| what == "incompatible-version"));
}

/// What this server says before its first sign of life, by what each message is.
async fn said((mut stream, mut frames): (Box<dyn Stream>, Frames)) -> Vec<u8> {
    let ping = Message::Ping { wall_ms: 0 }.encode(1)[6];
    let mut kinds = Vec::new();
    while kinds.last() != Some(&ping) {
        let frame = next_frame(&mut stream, &mut frames).await.expect("frames");
        kinds.push(frame.expect("it goes on")[6]);
    }
    kinds
}

#[test]
fn s14_an_older_server_is_not_told_who_was_seen_and_what_one_tells_wrongly_ends_no_session() {
    const SIGHTINGS: u8 = 0x81;
    let theirs = key();
    let side = Side::new(&Pair {
        partner: Some(partner(&theirs, "127.0.0.1:9".into())),
        ..Pair::default()
    });
    run(async {
        let address = until(|| side.link.status().listening).await;
        let trust = Trust::Known(vec![side.key.public().clone()]);
        let mut older = tls::client(&theirs, trust, Purpose::Link).expect("TLS");
        Arc::make_mut(&mut older).alpn_protocols = vec![b"daybreak-link/1".to_vec()];
        let stream = TcpStream::connect(address).await.expect("it listens");
        let connecting = TlsConnector::from(older).connect(tls::server_name(), stream);
        let older = Box::new(connecting.await.expect("the right key"));
        let told = said(greeted_by(&side, older).await).await;
        assert!(!told.contains(&SIGHTINGS), "{told:?}");

        let (mut stream, frames) = greeted(&side, &theirs).await;
        let wrong = [
            vec![0, 0, 0, 3, 0, 1, SIGHTINGS],
            vec![0, 0, 0, 5, 0, 1, SIGHTINGS, b'{', b'}'],
            vec![0, 0, 0, 3, 0, 7, SIGHTINGS],
            vec![0, 0, 0, 3, 0, 1, 0x82],
        ];
        for frame in wrong {
            say(&mut stream, &frame).await;
        }
        let told = said((stream, frames)).await;
        assert!(told.contains(&SIGHTINGS), "{told:?}");
        let refuses =
            |state: &State| matches!(state, State::IncompatibleVersion | State::Refused(_));
        assert!(side.state().is_some_and(|state| !refuses(&state)));
    });
}

#[test]
fn s15_who_has_the_right_key_and_lies_about_lengths_or_names_paths_is_closed_and_changes_nothing() {
    const PATH: &[u8] = b"../../../etc/shadow";
    let theirs = key();
    let side = Side::new(&Pair {
        partner: Some(partner(&theirs, "127.0.0.1:9".into())),
        ..Pair::default()
    });
    // As long as the path that takes its place: all lengths are right.
    let id = "a".repeat(PATH.len());
    let key = ObjectKey::parse(Kind::Terminal.word(), &id).expect("a key");
    let node = NodeId::from_random([7; 8]);
    let value = Value {
        dot: Dot { node, number: 1 },
        stamp: Stamp {
            time_ms: 1,
            counter: 0,
            node,
        },
        late: false,
        body: None,
    };
    let rows = Row::new(key.clone(), Version::default(), vec![value]);
    let naming = [
        Message::Fetch(vec![key.clone()]),
        Message::Compare { after: Some(key) },
        Message::Objects {
            head: Head::default(),
            answered: 1,
            rows: rows.into_iter().collect(),
        },
    ];
    let naming = naming.map(|message| {
        let mut octets = message.encode(1);
        let is_it = |part: &[u8]| part == id.as_bytes();
        let at = octets.windows(PATH.len()).position(is_it).expect("its key");
        octets[at..at + PATH.len()].copy_from_slice(PATH);
        octets
    });
    let lying = [0, 2, 8 << 20, u32::MAX].map(|length: u32| {
        let mut octets = length.to_be_bytes().to_vec();
        octets.extend([0, 1, 15, 0, 0, 0, 0, 0, 0, 0, 0]);
        octets
    });
    let before = side.configuration.site().change();
    run(async {
        let naming = naming.iter().map(|octets| {
            let refused = State::Refused(Refusal::Malformed);
            (octets, refused)
        });
        let lying = lying.iter().map(|octets| (octets, State::PeerUnreachable));
        for (octets, ends) in naming.chain(lying) {
            let (mut stream, mut frames) = greeted(&side, &theirs).await;
            say(&mut stream, octets).await;
            while let Ok(Some(_)) = next_frame(&mut stream, &mut frames).await {}
            until(|| side.state().filter(|state| *state == ends)).await;
        }
        let _ = greeted(&side, &theirs).await;
    });
    assert_eq!(side.configuration.site().change(), before);
}

/// Answers what is asked to look at the differences, holding nothing, until the connection ends.
async fn answer_with_nothing(mut stream: Box<dyn Stream>) {
    let mut frames = Frames::default();
    while let Ok(Some(octets)) = next_frame(&mut stream, &mut frames).await {
        let asked = Message::decode(&octets, &(1..=1)).expect("a message");
        assert_eq!(asked, Message::Compare { after: None });
        let now = Completion {
            node: NodeId::from_random([7; 8]),
            head: Head::default(),
            heads: Heads::default(),
        };
        let (last, rows) = (true, Vec::new());
        say(
            &mut stream,
            &Message::Page(Page { now, last, rows }).encode(1),
        )
        .await;
    }
}

#[test]
fn a_server_that_falls_silent_in_the_middle_of_a_run_fails_it_in_time_and_another_one_may_begin() {
    run(async {
        let theirs = key();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let side = Side::new(&Pair {
            listed: vec![partner(&theirs, address)],
            ..Pair::default()
        });
        let accepted = async |purpose| {
            let trust = Trust::Known(vec![side.key.public().clone()]);
            let config = tls::server(&theirs, trust, purpose).expect("TLS");
            let (stream, _) = listener.accept().await.expect("a connection");
            let stream = TlsAcceptor::from(config).accept(stream).await;
            let stream: Box<dyn Stream> = Box::new(stream.expect("the right key"));
            stream
        };
        for (overwritten, purpose, expected) in [
            (
                Overwritten::There,
                Purpose::Overwrite,
                "it says nothing any more; look at the differences again",
            ),
            (Overwritten::Here, Purpose::Manual, "it does not answer"),
        ] {
            let with = With::Listed(theirs.public().fingerprint());
            let looking = side.link.plan(with, overwritten);
            let answering = async { answer_with_nothing(accepted(Purpose::Manual).await).await };
            let (planned, ()) = tokio::join!(looking, answering);
            let (_, plan) = planned.expect("a plan");
            for _ in 0..2 {
                let actor = Actor::machine("test");
                let number = side.link.run(Arc::clone(&plan), actor).await;
                let number = number.expect("no other run goes on");
                // It has begun, and then the other process is stopped: its machine still has the connection.
                let (mut stream, mut frames) = (accepted(purpose).await, Frames::default());
                let first = next_frame(&mut stream, &mut frames).await;
                assert!(first.expect("a frame").is_some());
                if purpose == Purpose::Overwrite {
                    say(&mut stream, &Message::Compare { after: None }.encode(1)).await;
                }
                let run = || side.link.desk().run(number).expect("the last one");
                let outcome = until(|| run().outcome).await;
                let why = outcome.expect_err("nothing was done");
                assert!(why.contains(expected), "{why}");
            }
        }
    });
}

#[test]
fn a_value_that_does_not_fit_beside_an_edit_is_told_among_the_events() {
    let side = Side::new(&Pair::default());
    let key = ObjectKey::parse(Kind::Setting.word(), "synchronization").expect("a key");
    let node = NodeId::from_random([9; 8]);
    // A server that was replaced has brought as many as fit; none of them is in force.
    let values = (1..=VALUES_MAX as u64).map(|number| Value {
        dot: Dot { node, number },
        stamp: Stamp {
            time_ms: number,
            counter: 0,
            node,
        },
        late: true,
        body: Some(Body {
            octets: format!("{{\"value\": {number}}}").into_bytes().into(),
            images: [].into(),
        }),
    });
    let row = Row::new(key, Version::default(), values.collect()).expect("they fit");
    let taken = side.configuration.take_in(&Batch {
        from: node,
        late: true,
        keep: false,
        rows: &[row],
        gone: &[],
        seen: &Heads::default(),
        heard: None,
        end: None,
    });
    assert_eq!(taken.expect("written").dropped, []);
    let body = json!({"key": "synchronization", "value": {"enabled": true}});
    let body = kind::Body::parse_request(Kind::Setting, &body).expect("a setting");
    let edits = vec![Edit::Create(body)];
    let made = side.configuration.apply(&Actor::machine("test"), edits);
    made.expect("it is in nobody's way");
    let told = run(until(|| {
        let noticed = side.noticed.lock().expect("no panic");
        let mut details = noticed.iter().map(|row| row.details.clone());
        details.find(|details| details["what"] == "values-dropped")
    }));
    assert_eq!(
        told,
        json!({"what": "values-dropped", "kind": "setting", "id": "synchronization", "values": 1})
    );
    assert_eq!(side.link.status().counts.dropped, 1);
}
