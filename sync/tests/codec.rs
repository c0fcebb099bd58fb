//! Messages are read as they were written, and nothing else is read.

use daybreak_sync::policy::{Mode, Refusal, Role};
use daybreak_sync::wire::{Hello, Malformed, Message, Page, Rows};
use daybreak_sync::{
    Body, Completion, Digest, Dot, Head, Heads, ImageHash, ImageRef, Mark, NodeId, ObjectKey, Row,
    Stamp, Value, Version,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn node() -> impl Strategy<Value = NodeId> {
    any::<[u8; 8]>().prop_map(NodeId::from_random)
}

fn head() -> impl Strategy<Value = Head> {
    (any::<u64>(), any::<[u8; 16]>()).prop_map(|(position, mark)| Head {
        position,
        mark: Mark(mark),
    })
}

fn heads() -> impl Strategy<Value = Heads> {
    vec((node(), head()), 0..5).prop_map(Heads::from_iter)
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn key() -> impl Strategy<Value = ObjectKey> {
    ("[a-z0-9-]{1,32}", "[a-z0-9-]{1,64}")
        .prop_map(|(kind, id)| ObjectKey::parse(&kind, &id).expect("a key"))
}

fn image() -> impl Strategy<Value = ImageRef> {
    (any::<[u8; 32]>(), 0..=1_u64 << 40).prop_map(|(hash, bytes)| ImageRef {
        hash: ImageHash(hash),
        bytes,
    })
}

fn value() -> impl Strategy<Value = Value> {
    let body = (vec(any::<u8>(), 0..50), vec(image(), 0..3)).prop_map(|(octets, images)| Body {
        octets: octets.into(),
        images: images.into(),
    });
    let dot = (node(), any::<u64>()).prop_map(|(node, number)| Dot { node, number });
    let stamp = (any::<u64>(), any::<u32>(), node()).prop_map(|(time_ms, counter, node)| Stamp {
        time_ms,
        counter,
        node,
    });
    (dot, stamp, any::<bool>(), proptest::option::of(body)).prop_map(|(dot, stamp, late, body)| {
        Value {
            dot,
            stamp,
            late,
            body,
        }
    })
}

fn row() -> impl Strategy<Value = Row> {
    (key(), vec(value(), 1..4)).prop_filter_map("no value twice", |(key, values)| {
        let version: Version = values.iter().fold(Version::default(), |version, value| {
            let number = version.change_of(value.dot.node).max(value.dot.number);
            version.followed_by(value.dot.node, number)
        });
        Row::new(key, version, values)
    })
}

fn completion() -> impl Strategy<Value = Completion> {
    (node(), head(), heads()).prop_map(|(node, head, heads)| Completion { node, head, heads })
}

fn hello() -> impl Strategy<Value = Hello> {
    let people = (any::<String>(), any::<String>()).prop_map(|(name, software)| {
        let cut = |text: String| text.chars().take(64).collect::<String>();
        (cut(name), cut(software))
    });
    let sharing = (
        prop_oneof![Just(Mode::None), Just(Mode::Mirrored), Just(Mode::Full)],
        prop_oneof![Just(Role::Primary), Just(Role::Secondary)],
    );
    let heard = proptest::option::of((node(), head()));
    (
        node(),
        any::<(u16, u16, u64, u64)>(),
        sharing,
        people,
        heard,
        heads(),
        digest(),
    )
        .prop_map(
            |(
                node,
                (low, high, epoch, wall_ms),
                (mode, role),
                (name, software),
                heard,
                heads,
                digest,
            )| Hello {
                versions: (low, high),
                node,
                epoch,
                mode,
                role,
                name,
                software,
                wall_ms,
                heard,
                heads,
                digest,
            },
        )
}

fn message() -> impl Strategy<Value = Message> {
    let rows = (any::<u64>(), completion(), vec(row(), 0..4))
        .prop_map(|(to, now, rows)| Message::Rows(Rows { to, now, rows }));
    let page = (completion(), any::<bool>(), vec((key(), digest()), 0..4))
        .prop_map(|(now, last, rows)| Message::Page(Page { now, last, rows }));
    let piece = (
        any::<[u8; 32]>(),
        any::<u32>(),
        vec(any::<[u8; 32]>(), 0..24),
        vec(any::<u8>(), 0..200),
    )
        .prop_map(|(hash, index, proof, octets)| Message::Piece {
            hash: ImageHash(hash),
            index,
            proof,
            octets,
        });
    prop_oneof![
        hello().prop_map(Message::Hello),
        (node(), heads(), digest()).prop_map(|(node, heads, digest)| Message::Heads {
            node,
            heads,
            digest
        }),
        (node(), head(), any::<u64>()).prop_map(|(node, cursor, after)| Message::Pull {
            node,
            cursor,
            after
        }),
        rows,
        Just(Message::TooOld),
        proptest::option::of(key()).prop_map(|after| Message::Compare { after }),
        page,
        vec(key(), 0..5).prop_map(Message::Fetch),
        (head(), any::<u32>(), vec(row(), 0..4)).prop_map(|(head, answered, rows)| {
            Message::Objects {
                head,
                answered,
                rows,
            }
        }),
        (image(), any::<u32>()).prop_map(|(image, index)| Message::Ask { image, index }),
        piece,
        any::<[u8; 32]>().prop_map(|hash| Message::NoPiece {
            hash: ImageHash(hash)
        }),
        (node(), head()).prop_map(|(node, head)| Message::Ack { node, head }),
        Just(Message::Refuse(Refusal::Replaced)),
        any::<u64>().prop_map(|wall_ms| Message::Ping { wall_ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_message_is_read_as_it_was_written(message in message()) {
        let octets = message.encode(1);
        prop_assert_eq!(Message::decode(&octets, &(1..=1)), Ok(message.clone()));
        prop_assert_eq!(Message::decode(&octets, &(2..=3)), Err(Malformed::Version(1)));
        if let Message::Hello(hello) = &message {
            prop_assert_eq!(Message::versions_of_hello(&octets), Some(hello.versions));
        }
    }

    #[test]
    fn a_message_that_is_cut_or_longer_or_changed_is_refused_or_reads_as_what_it_says(message in message(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let octets = message.encode(1);
        let lengthened = |mut octets: Vec<u8>| {
            let length = u32::try_from(octets.len() - 4).expect("short");
            octets[..4].copy_from_slice(&length.to_be_bytes());
            octets
        };
        let cut = 7 + at.index(octets.len() - 6);
        if cut < octets.len() {
            prop_assert!(Message::decode(&lengthened(octets[..cut].to_vec()), &(1..=1)).is_err());
        }
        prop_assert!(Message::decode(&lengthened([&octets[..], &[0]].concat()), &(1..=1)).is_err());
        let mut changed = octets;
        let place = at.index(changed.len());
        changed[place] ^= 1 << bit;
        if let Ok(read) = Message::decode(&changed, &(1..=1)) {
            prop_assert_eq!(read.encode(1), changed);
        }
    }
}

#[test]
fn a_count_that_lies_takes_no_memory() {
    // Four thousand million rows, keys, steps, in a message of a few octets.
    for kind in [4_u8, 7, 8, 9, 11] {
        for fill in [0_u8, 1, 0x7f, 0xff] {
            let mut octets = vec![0, 0, 0, 0, 0, 1, kind];
            octets.extend([fill; 200]);
            let length = u32::try_from(octets.len() - 4).expect("short");
            octets[..4].copy_from_slice(&length.to_be_bytes());
            assert!(Message::decode(&octets, &(1..=1)).is_err(), "{kind} {fill}");
        }
    }
}
