//! What must hold of any datagram, for the parser and for the names in it, and of any file that is said to be a backup:
//! the fuzzers and the replay of their corpora check the same.

use daybreak_admin::backup::archive::{ArchiveError, Reader, Record, Writer};
use daybreak_admin::backup::{BackupError, Source};

use daybreak_admin::licensing::{InstallationId, KeyId, VendorKeys};
use daybreak_store::journal::{Event, EventError};
use daybreak_store::{
    Changes, Generation, Mac, Name, Snapshot, SnapshotBuilder, StatusKey, StoredContent,
    StoredTerminal,
};
use daybreak_sync::NodeId;
use daybreak_sync::wire::{Frames, Message};
use daybreak_tftp::limits;
use daybreak_tftp::name;
use daybreak_tftp::status::{self, DATAGRAM_BYTES};
use daybreak_tftp::wire::{self, BlockNumber, Options, Packet, Request};
use ed25519_dalek::{Signer, SigningKey};

/// Parses a datagram, and checks everything that the parser promises.
///
/// # Panics
/// If a promise is broken.
pub fn check_datagram(datagram: &[u8]) {
    match Packet::parse(datagram) {
        Ok(Packet::Rrq(request) | Packet::Wrq(request)) => check_request(&request),
        Ok(Packet::Data(number, payload)) => {
            assert_eq!([&wire::data_header(number)[..], payload].concat(), datagram);
        }
        Ok(Packet::Ack(number)) => check_ack(number),
        Ok(Packet::Error(_, text)) => assert!(!text.contains(&0)),
        Ok(Packet::Oack(options)) => check_options(&options),
        // The reply to it must be an error that a client can read.
        Err(malformed) => {
            let error = wire::emit_error(malformed.error_code(), &malformed.to_string());
            assert!(matches!(
                Packet::parse(error.as_bytes()),
                Ok(Packet::Error(..))
            ));
            assert_eq!(error.as_bytes().last(), Some(&0));
        }
    }
}

/// Brings a name to its key, and checks that the key cannot climb.
///
/// # Panics
/// If it can.
pub fn check_name(raw: &[u8]) {
    let mut buffer = name::Buffer::default();
    let Ok(key) = name::normalise(raw, &mut buffer) else {
        return;
    };
    assert!(!key.is_empty() && key.len() <= limits::NAME_BYTES_MAX);
    assert!(!key.contains(&0) && !key.contains(&b'\\'));
    for segment in key.split(|&octet| octet == b'/') {
        assert!(
            !matches!(segment, b"" | b"." | b".."),
            "segment {segment:?} of {key:?}"
        );
    }
}

/// Reads a status datagram; what is one is written the same again.
///
/// # Panics
/// If it is not.
pub fn check_status(datagram: &[u8]) {
    let Ok(packet) = status::Packet::parse(datagram) else {
        return;
    };
    assert_eq!(datagram.len(), DATAGRAM_BYTES);
    assert_eq!([packet.signed(), &packet.tag()].concat(), datagram);
    if let Ok(repr) = status::Repr::parse(&packet) {
        assert_eq!(repr.mac, packet.mac());
        assert_eq!(repr.emit(|_| packet.tag())[..], *datagram);
    }
}

/// Reads a record of the journal; what is one is written the same again.
///
/// # Panics
/// If it is not.
pub fn check_event(record: &[u8]) {
    match Event::parse(record) {
        Ok(event) => {
            let mut again = Vec::new();
            event.emit(&mut again);
            assert_eq!(again, record);
        }
        Err(EventError::Kind(_) | EventError::Malformed) => {}
    }
}

/// Reads a licence file: refused by name, or what was signed with the key of the seeds, octet by octet. Signed anew with that key, too, so
/// that what is behind the signature is reached.
///
/// # Panics
/// If a promise is broken.
pub fn check_licence(text: &[u8]) {
    let key = SigningKey::from_bytes(&[1; 32]);
    let mut vendors = VendorKeys::default();
    vendors.trust(key.verifying_key());
    for text in [text.to_vec(), signed_anew(text, &key)] {
        match vendors.read(&text) {
            Ok(licence) => {
                assert_eq!(licence.check(), Ok(()));
                for cut in [&text[..text.len() - 1], &[&text[..], b" "].concat()] {
                    assert!(vendors.read(cut).is_err(), "another length");
                }
                let stranger = InstallationId::derive("nobody", NodeId::from_random([0xee; 8]));
                let refused = vendors.read_for(&text, stranger).expect_err("for others");
                assert_eq!(refused.word(), "other_installation");
            }
            Err(why) => assert!(!why.word().is_empty() && !why.to_string().is_empty()),
        }
    }
}

/// The payload of a licence file, or all of what is none, under a head that fits.
fn signed_anew(text: &[u8], key: &SigningKey) -> Vec<u8> {
    let end = text.windows(2).position(|two| two == b"\n\n");
    let payload = end.map_or(text, |end| &text[end + 2..]);
    let signature = key.sign(payload).to_bytes();
    let digits: String = signature
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    let (id, length) = (KeyId::of(&key.verifying_key()), payload.len());
    let head = format!("daybreak-licence 1\nkey {id}\nsignature {digits}\nlength {length}\n\n");
    [head.as_bytes(), payload].concat()
}

/// Reads a catalog, and asks it for everything that is in it. Sealed first, so that what is behind the checksum is
/// reached.
///
/// # Panics
/// If something in it is not found, or it cannot be written again as it was.
pub fn check_catalog(file: &[u8]) {
    let _ = Snapshot::parse(file);
    if let Ok(snapshot) = Snapshot::parse(sealed(file)) {
        check_snapshot(&snapshot);
    }
}

/// The same of changes of a catalog, and of what they make of the one that the seeds are told from.
///
/// # Panics
/// If something in what they make is not found, or it cannot be written again as it was.
pub fn check_changes(file: &[u8]) {
    let _ = Changes::parse(file);
    let Ok(changes) = Changes::parse(&sealed(file)) else {
        return;
    };
    let base = Snapshot::parse(changes_base()).expect("what we wrote");
    if let Ok(snapshot) = changes.make(&base) {
        check_snapshot(&snapshot);
    }
}

/// The catalog that the seeds of changes are told from. Large enough for a store to do that.
#[must_use]
pub fn changes_base() -> Vec<u8> {
    let name = |text: &str| Name::parse(text).expect("canonical");
    let mut builder = SnapshotBuilder::new();
    builder.put(
        name("large"),
        StoredContent::Inline(vec![7; 64 << 10].into()),
    );
    for (to, content) in [
        ("Boot", "one"),
        ("boot", "two"),
        ("t/a", "{}"),
        ("t/b", "{}"),
    ] {
        builder.put(name(to), StoredContent::Inline(content.as_bytes().into()));
    }
    for last in [1, 3, 5] {
        builder.set_terminal(Mac([2, 0, 0, 0, 0, last]), Some(changes_terminal(last)));
    }
    builder
        .build(Generation::ZERO.next().expect("in range"))
        .expect("fits")
}

/// Whose a card of it is.
#[must_use]
pub fn changes_terminal(number: u8) -> StoredTerminal {
    StoredTerminal {
        id: format!("id-{number}").into(),
        name: format!("t{number}").into(),
        status_key: StatusKey([number; 32]),
        enabled: true,
        seated: true,
        standby: false,
    }
}

/// With a checksum that is right, so that what is behind it is reached.
fn sealed(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    if let Some(body) = file.len().checked_sub(32) {
        let checksum = blake3::hash(&file[..body]);
        file[body..].copy_from_slice(checksum.as_bytes());
    }
    file
}

fn check_snapshot(snapshot: &Snapshot) {
    for (id, view) in snapshot.entries() {
        assert_eq!(snapshot.lookup(view.name.as_bytes()), Some(id));
        assert!(snapshot.lookup_folded(view.name.as_bytes()).is_some());
    }
    for view in snapshot.terminals() {
        assert_eq!(snapshot.terminal(view.mac), Some(view));
    }
    let again = SnapshotBuilder::from_snapshot(snapshot)
        .build(snapshot.generation())
        .expect("it was a catalog");
    let again = Snapshot::parse(again).expect("what we wrote");
    let views = |snapshot: &Snapshot| -> Vec<String> {
        let views = snapshot.entries().map(|(_, view)| format!("{view:?}"));
        views.collect()
    };
    assert_eq!(views(&again), views(snapshot));
    assert!(again.terminals().eq(snapshot.terminals()));
}

/// Reads an archive as a restore does, and checks that what is accepted is what a backup would have written: the same
/// octets. What was refused is told.
///
/// # Panics
/// If it is not.
pub fn check_archive(octets: &[u8]) -> Result<(), BackupError> {
    // By the domain: bodies, too.
    let mut image_bytes = 0;
    Source::open(octets)?.images(|_, len, content| {
        let mut image = Vec::new();
        content.read_to_end(&mut image)?;
        assert_eq!(image.len() as u64, len);
        image_bytes += len;
        Ok(())
    })?;
    assert!(
        image_bytes <= octets.len() as u64,
        "a restore writes no more than it has read"
    );
    assert_eq!(written_again(octets)?, octets);
    Ok(())
}

fn written_again(octets: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let mut reader = Reader::open(octets)?;
    let mut writer = Writer::new(Vec::new(), reader.head())?;
    while let Some(record) = reader.next_record()? {
        match record {
            Record::Object { kind, id, body } => writer.object(kind.word(), &id, &body)?,
            Record::File { name, hash, len } => writer.file(name.as_str(), &hash, len)?,
            Record::Image { hash, len } => {
                let mut image = vec![0; usize::try_from(len).expect("it is in memory")];
                let mut done = 0;
                while done < image.len() {
                    done += reader.read(&mut image[done..])?;
                }
                writer.image(&hash, len, &mut &image[..])?;
            }
        }
    }
    Ok(writer.finish()?.0)
}

fn check_request(request: &Request<'_>) {
    assert!(!request.name.is_empty() && request.name.len() <= limits::NAME_BYTES_MAX);
    assert!(!request.name.contains(&0) && !request.mode.contains(&0));
    check_options(&request.options);
    check_name(request.name);
    // What was read can be written, and reads the same.
    if let Ok(mode) = std::str::from_utf8(request.mode) {
        let mut buffer = [0; limits::REQUEST_BYTES_MAX];
        let len =
            wire::emit_request(request.name, mode, &[], &mut buffer).expect("it was a request");
        let again = Request {
            options: Options::NONE,
            ..*request
        };
        assert_eq!(Packet::parse(&buffer[..len]), Ok(Packet::Rrq(again)));
    }
}

/// Reads what a peer server sends, and checks that each message is refused, or is exactly what was read.
///
/// # Panics
/// If it is something else.
pub fn check_peer_stream(octets: &[u8]) {
    let mut frames = Frames::default();
    frames.push(octets);
    while let Ok(Some(message)) = frames.pop() {
        let _ = Message::versions_of_hello(&message);
        if let Ok(read) = Message::decode(&message, &(1..=1)) {
            assert_eq!(read.encode(1), message);
        }
    }
}

fn check_options(options: &Options<'_>) {
    assert!(options.iter().count() <= limits::OPTIONS_MAX);
    for (name, value) in options.iter() {
        assert!(!name.contains(&0) && !value.contains(&0));
    }
    let mut kinds: Vec<_> = options.known().map(|(kind, _, _)| kind as usize).collect();
    kinds.sort_unstable();
    let known = kinds.len();
    kinds.dedup();
    assert_eq!(kinds.len(), known, "an option of one kind counts once");
}

fn check_ack(number: BlockNumber) {
    assert_eq!(
        Packet::parse(&wire::emit_ack(number)),
        Ok(Packet::Ack(number))
    );
}
