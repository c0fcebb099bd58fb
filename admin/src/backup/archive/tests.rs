use std::io::Read;

use daybreak_store::ImageHash;

use super::*;
use crate::kind::Kind;
use crate::limits::BODY_BYTES_MAX;

fn id(text: &str) -> Id {
    Id::parse(text).expect("an identifier")
}

fn head(objects: u64, files: u64, images: u64, image_bytes: u64) -> Head {
    Head {
        created_ms: 1,
        software: "0".into(),
        node: NodeId::from_random([1; 8]),
        reason: Reason::Manual,
        schedule: None,
        with_images: true,
        objects,
        files,
        images,
        image_bytes,
    }
}

/// Two objects, two files, one image.
fn whole() -> Vec<u8> {
    let image = ImageHash::of(b"image");
    let head = head(2, 2, 1, 5);
    let mut writer = Writer::new(Vec::new(), &head).expect("memory");
    writer.object("module", &id("a"), b"{}").expect("memory");
    writer.object("role", &id("a"), b"{}").expect("memory");
    writer.file("a", &image, 5).expect("memory");
    writer
        .file("b", &ImageHash::of(b"other"), 5)
        .expect("memory");
    writer
        .image(&image, 5, &mut &b"image"[..])
        .expect("its hash");
    writer.finish().expect("memory").0
}

/// An archive of these records, with a right end.
fn made_of(head: &[u8], records: &[(u8, &[u8])]) -> Vec<u8> {
    let mut octets = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
    let mut put = |tag: u8, payload: &[u8]| {
        octets.push(tag);
        octets.extend((payload.len() as u64).to_le_bytes());
        octets.extend(payload);
    };
    put(b'H', head);
    for (tag, payload) in records {
        put(*tag, payload);
    }
    octets.push(b'E');
    octets.extend(32_u64.to_le_bytes());
    let checksum = *blake3::hash(&octets).as_bytes();
    octets.extend(checksum);
    octets
}

fn object(kind: &str, id: &str, body: &[u8]) -> Vec<u8> {
    let short =
        |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    [&short(kind), &short(id), body].concat()
}

fn file(name: &[u8], content: &[u8], len: u64) -> Vec<u8> {
    [
        ImageHash::of(content).as_bytes(),
        &len.to_le_bytes()[..],
        name,
    ]
    .concat()
}

fn image(content: &[u8]) -> Vec<u8> {
    [ImageHash::of(content).as_bytes(), content].concat()
}

fn read(octets: &[u8]) -> Result<Vec<Record>, ArchiveError> {
    let mut reader = Reader::open(octets)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(record);
    }
    Ok(records)
}

fn refused(octets: &[u8]) -> ArchiveError {
    read(octets).expect_err("refused")
}

#[test]
fn what_was_written_is_read_back() {
    let octets = whole();
    let records = read(&octets).expect("whole");
    assert_eq!(records.len(), 5);
    let Record::Object { kind, .. } = &records[0] else {
        panic!("{records:?}");
    };
    assert_eq!(*kind, Kind::Module);
    let mut reader = Reader::open(&octets[..]).expect("whole");
    while let Some(record) = reader.next_record().expect("whole") {
        if let Record::Image { len, .. } = record {
            let mut content = vec![0; usize::try_from(len).expect("small")];
            assert_eq!(reader.read(&mut content).expect("whole"), 5);
            assert_eq!(content, b"image");
            assert_eq!(reader.read(&mut content).expect("its end"), 0);
        }
    }
    assert!(reader.checksum().is_some());
}

#[test]
fn an_archive_that_is_cut_at_any_octet_is_refused() {
    let octets = whole();
    for end in 0..octets.len() {
        let error = refused(&octets[..end]);
        let named = matches!(error, ArchiveError::Truncated(_) | ArchiveError::NotABackup);
        assert!(named, "cut at {end}: {error}");
    }
    assert!(matches!(
        refused(&[&octets[..], b"x"].concat()),
        ArchiveError::Trailing
    ));
    assert!(matches!(
        refused(&[&octets[..], &octets[..]].concat()),
        ArchiveError::Trailing
    ));
}

#[test]
fn an_archive_with_any_bit_changed_is_refused() {
    let octets = whole();
    for at in 0..octets.len() {
        for bit in 0..8 {
            let mut changed = octets.clone();
            changed[at] ^= 1 << bit;
            refused(&changed);
        }
    }
}

#[test]
fn every_way_to_lie_is_refused_by_name() {
    let said =
        |objects, files, images, bytes| write::head_json(&head(objects, files, images, bytes));
    let (body, long) = (object("role", "a", b"{}"), vec![b'x'; BODY_BYTES_MAX + 1]);
    type Told = fn(&ArchiveError) -> bool;
    let cases: Vec<(&str, Vec<u8>, Told)> = vec![
        (
            "another program's",
            b"PK\x03\x04 a zip file of some length".to_vec(),
            |e| matches!(e, ArchiveError::NotABackup),
        ),
        (
            "a newer format",
            [&MAGIC[..], &2_u32.to_le_bytes()].concat(),
            |e| matches!(e, ArchiveError::UnknownVersion(2)),
        ),
        (
            "an unknown record",
            made_of(&said(0, 0, 0, 0), &[(b'L', b"/etc/passwd")]),
            |e| matches!(e, ArchiveError::UnknownRecord(b'L')),
        ),
        (
            "two heads",
            made_of(&said(0, 0, 0, 0), &[(b'H', &said(0, 0, 0, 0))]),
            |e| matches!(e, ArchiveError::Order),
        ),
        (
            "an object after a file",
            made_of(
                &said(1, 1, 0, 0),
                &[(b'F', &file(b"a", b"", 0)), (b'O', &body)],
            ),
            |e| matches!(e, ArchiveError::Order),
        ),
        (
            "an object twice",
            made_of(&said(2, 0, 0, 0), &[(b'O', &body), (b'O', &body)]),
            |e| matches!(e, ArchiveError::Repeated(_)),
        ),
        (
            "a file twice",
            made_of(
                &said(0, 2, 0, 0),
                &[(b'F', &file(b"a", b"", 0)), (b'F', &file(b"a", b"x", 1))],
            ),
            |e| matches!(e, ArchiveError::Repeated(_)),
        ),
        (
            "an image twice",
            made_of(
                &said(0, 1, 2, 2),
                &[
                    (b'F', &file(b"a", b"x", 1)),
                    (b'I', &image(b"x")),
                    (b'I', &image(b"x")),
                ],
            ),
            |e| matches!(e, ArchiveError::Repeated(_)),
        ),
        (
            "a path that climbs",
            made_of(
                &said(0, 1, 0, 0),
                &[(b'F', &file(b"../../etc/passwd", b"", 0))],
            ),
            |e| matches!(e, ArchiveError::Name(_)),
        ),
        (
            "a path from the root",
            made_of(&said(0, 1, 0, 0), &[(b'F', &file(b"/etc/passwd", b"", 0))]),
            |e| matches!(e, ArchiveError::Name(_)),
        ),
        (
            "a path of Windows",
            made_of(&said(0, 1, 0, 0), &[(b'F', &file(b"a\\..\\b", b"", 0))]),
            |e| matches!(e, ArchiveError::Name(_)),
        ),
        (
            "an empty name",
            made_of(&said(0, 1, 0, 0), &[(b'F', &file(b"", b"", 0))]),
            |e| matches!(e, ArchiveError::Name(_)),
        ),
        (
            "an identifier that climbs",
            made_of(&said(1, 0, 0, 0), &[(b'O', &object("role", "../a", b"{}"))]),
            |e| matches!(e, ArchiveError::Name(_)),
        ),
        (
            "an identifier beyond its record",
            made_of(&said(1, 0, 0, 0), &[(b'O', b"\x04role\xffa")]),
            |e| matches!(e, ArchiveError::Name(_)),
        ),
        (
            "an unknown kind",
            made_of(&said(1, 0, 0, 0), &[(b'O', &object("gadget", "a", b"{}"))]),
            |e| matches!(e, ArchiveError::UnknownKind(_)),
        ),
        (
            "a body that is too long",
            made_of(&said(1, 0, 0, 0), &[(b'O', &object("role", "a", &long))]),
            |e| matches!(e, ArchiveError::Length { .. }),
        ),
        (
            "an image that no file names",
            made_of(&said(0, 0, 1, 1), &[(b'I', &image(b"x"))]),
            |e| matches!(e, ArchiveError::Stray(_)),
        ),
        (
            "an image of another length",
            made_of(
                &said(0, 1, 1, 1),
                &[(b'F', &file(b"a", b"x", 2)), (b'I', &image(b"x"))],
            ),
            |e| matches!(e, ArchiveError::Stray(_)),
        ),
        (
            "one image of two lengths",
            made_of(
                &said(0, 2, 0, 0),
                &[(b'F', &file(b"a", b"x", 1)), (b'F', &file(b"b", b"x", 2))],
            ),
            |e| matches!(e, ArchiveError::Stray(_)),
        ),
        (
            "an image that is another",
            made_of(
                &said(0, 1, 1, 1),
                &[
                    (b'F', &file(b"a", b"x", 1)),
                    (b'I', &[ImageHash::of(b"x").as_bytes(), &b"y"[..]].concat()),
                ],
            ),
            |e| matches!(e, ArchiveError::Image(_)),
        ),
        (
            "more than it says",
            made_of(&said(0, 0, 0, 0), &[(b'O', &body)]),
            |e| matches!(e, ArchiveError::Count { .. }),
        ),
        (
            "less than it says",
            made_of(&said(2, 0, 0, 0), &[(b'O', &body)]),
            |e| matches!(e, ArchiveError::Count { .. }),
        ),
        (
            "a head in other words",
            made_of(&[&said(0, 0, 0, 0)[..], b" "].concat(), &[]),
            |e| matches!(e, ArchiveError::Head(_)),
        ),
        ("no head", made_of(b"[]", &[]), |e| {
            matches!(e, ArchiveError::Head(_))
        }),
    ];
    for (what, octets, is_it) in cases {
        let error = refused(&octets);
        assert!(is_it(&error), "{what}: {error:?}");
    }
}

/// Gives octets, and counts them; then says that there are many more.
struct Endless<'o> {
    octets: &'o [u8],
    given: u64,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.octets.read(buffer)?;
        if count > 0 {
            return Ok(count);
        }
        buffer.fill(0);
        self.given += buffer.len() as u64;
        Ok(buffer.len())
    }
}

#[test]
fn a_length_that_lies_allocates_nothing_and_reads_no_further() {
    let begin = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
    for (tag, len) in [(b'H', u64::MAX), (b'H', 1 << 31), (b'O', 0)] {
        let octets = [&begin[..], &[tag], &len.to_le_bytes()].concat();
        let mut source = Endless {
            octets: &octets,
            given: 0,
        };
        assert!(Reader::open(&mut source).is_err());
        assert_eq!(source.given, 0, "{tag} {len}");
    }
    let json = write::head_json(&head(1, 0, 0, 0));
    for tag in [b'O', b'F', b'E'] {
        for len in [u64::MAX, 1 << 32, 1 << 31, (1 << 20) + 1] {
            let mut octets = made_of(&json, &[]);
            octets.truncate(octets.len() - 32 - 9);
            octets.push(tag);
            octets.extend(len.to_le_bytes());
            let mut source = Endless {
                octets: &octets,
                given: 0,
            };
            let mut reader = Reader::open(&mut source).expect("a head");
            let error = reader.next_record().expect_err("refused");
            assert!(matches!(error, ArchiveError::Length { .. }), "{error}");
            assert_eq!(source.given, 0, "{tag} {len}");
        }
    }
}
