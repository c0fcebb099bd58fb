//! Questions and answers, octet by octet. The numbers in names are those of the statements in `docs/protocol.md`.

use std::collections::BTreeMap;

use daybreak_store::{
    Generation, Name, Snapshot, SnapshotBuilder, StatusKey, StoredContent, StoredTerminal,
};
use dhcproto::v4::borrowed::{DhcpOptionIterator, Message};

use super::*;
use crate::limits::DHCP_REPLY_BYTES_MIN;

const CARD: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SERVER: Server = Server {
    address: OURS,
    http_port: None,
};
const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;
const MACHINE: [u8; 17] = *b"\x000123456789abcdef";

/// A message as firmware sends it, to be changed.
#[derive(Clone)]
struct Asked {
    fixed: [u8; 240],
    options: Vec<(u8, Vec<u8>)>,
}

/// A PC with BIOS that starts.
fn pxe(kind: u8, architecture: u16) -> Asked {
    let mut fixed = [0; 240];
    fixed[..4].copy_from_slice(&[1, 1, 6, 0]);
    fixed[4..8].copy_from_slice(&0xdead_beef_u32.to_be_bytes());
    fixed[10] = 0x80;
    fixed[28..34].copy_from_slice(&CARD.0);
    fixed[236..].copy_from_slice(&[99, 130, 83, 99]);
    let class = format!("PXEClient:Arch:{architecture:05}:UNDI:003016");
    Asked {
        fixed,
        options: vec![
            (53, vec![kind]),
            (55, vec![1, 3, 43, 60]),
            (93, architecture.to_be_bytes().into()),
            (94, vec![1, 3, 16]),
            (97, MACHINE.into()),
            (60, class.into()),
        ],
    }
}

impl Asked {
    fn with(mut self, code: u8, data: &[u8]) -> Self {
        self.options.retain(|(other, _)| *other != code);
        self.options.push((code, data.into()));
        self
    }

    fn without(mut self, code: u8) -> Self {
        self.options.retain(|(other, _)| *other != code);
        self
    }

    fn address(mut self, at: usize, address: Ipv4Addr) -> Self {
        self.fixed[at..at + 4].copy_from_slice(&address.octets());
        self
    }

    fn octets(&self) -> Vec<u8> {
        let mut octets = self.fixed.to_vec();
        for (code, data) in &self.options {
            octets.extend([*code, u8::try_from(data.len()).unwrap()]);
            octets.extend(data);
        }
        octets.push(255);
        octets
    }

    fn react(&self, way: Way, catalog: &Catalog) -> Reaction {
        react(&self.octets(), way, SERVER, catalog)
    }

    #[track_caller]
    fn answer(&self, way: Way, catalog: &Catalog) -> Answer {
        self.react(way, catalog).answer.unwrap()
    }
}

#[test]
fn a_server_that_boots_nobody_does_not_answer() {
    let site = |text: &str| with_texts(&PROGRAMS, &[("boot/loaders", text)]);
    let ask = |catalog: &Catalog| pxe(DISCOVER, 0).react(Way::Broadcast, catalog).answer;
    assert!(ask(&site("x86-bios boot/undionly.kpxe\n")).is_ok());
    assert_eq!(ask(&site("nobody\n")), Err(Silence::StandsBy));
}

#[test]
fn c89_the_offer_of_another_proxy_is_known_and_one_of_an_address_is_not() {
    let offer = pxe(DISCOVER, 0).answer(Way::Broadcast, &catalog(&PROGRAMS));
    assert!(is_proxy_offer(&offer.octets));
    let mut leased = offer.octets.clone();
    leased[16..20].copy_from_slice(&[192, 0, 2, 9]);
    assert!(!is_proxy_offer(&leased));
    assert!(!is_proxy_offer(&pxe(DISCOVER, 0).octets()));
    for end in 0..offer.octets.len() {
        let _ = is_proxy_offer(&offer.octets[..end]);
    }
}

/// A catalog of these names; the terminal of [`CARD`] is in it.
fn catalog(names: &[&str]) -> Catalog {
    with_texts(names, &[])
}

fn with_texts(names: &[&str], texts: &[(&str, &str)]) -> Catalog {
    let mut builder = SnapshotBuilder::new();
    let texts = names
        .iter()
        .map(|name| (*name, "x"))
        .chain(texts.iter().copied());
    for (name, text) in texts {
        let content = StoredContent::Inline(text.as_bytes().into());
        builder.put(Name::parse(name).unwrap(), content);
    }
    let terminal = StoredTerminal {
        id: "id".into(),
        name: "kiosk".into(),
        status_key: StatusKey::NONE,
        enabled: true,
        seated: true,
        standby: false,
    };
    builder.set_terminals(BTreeMap::from([(CARD, terminal)]));
    let octets = builder.build(Generation::new(1).unwrap()).unwrap();
    Catalog::detached(Snapshot::parse(octets).unwrap())
}

const PROGRAMS: [&str; 4] = [
    "boot/undionly.kpxe",
    "boot/ipxe.efi",
    "ipxe-arm64.efi",
    "boot/ipxe-i386.efi",
];

fn option(answer: &Answer, code: u8) -> Option<Vec<u8>> {
    let mut options = DhcpOptionIterator::new(&answer.octets[240..]);
    let found = options.find(|option| u8::from(option.code()) == code)?;
    Some(found.data().to_vec())
}

const EVERYBODY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT);

#[test]
fn c75_option_67_has_the_length_of_the_name_and_stands_where_it_is_wanted_or_needed() {
    let catalog_of =
        |name: &str| with_texts(&[name], &[("boot/loaders", &format!("x86-bios {name}\n"))]);
    let asked = pxe(DISCOVER, 0);
    let short = "boot/undionly.kpxe";
    let answer = asked.answer(Way::Broadcast, &catalog_of(short));
    assert_eq!(option(&answer, 67), None);
    let wanted = asked.with(55, &[66, 67]);
    let answer = wanted.answer(Way::Broadcast, &catalog_of(short));
    assert_eq!(option(&answer, 67).unwrap(), short.as_bytes());
    assert_eq!(option(&answer, 66).unwrap(), b"192.0.2.1");
    // What the field `file` holds with a NUL behind it stands there; what is longer does not.
    for (len, fits) in [(127, true), (128, false), (250, false)] {
        let name = "n".repeat(len);
        let answer = pxe(DISCOVER, 0).answer(Way::Broadcast, &catalog_of(&name));
        let message = Message::new(&answer.octets).unwrap();
        assert_eq!(message.fname() == name.as_bytes(), fits, "{len}");
        assert_eq!(option(&answer, 67).is_some(), !fits, "{len}");
        assert_eq!(answer.octets[235], 0, "{len}");
    }
}

#[test]
fn c76_options_in_the_fields_file_and_sname_are_read_where_option_52_says_so() {
    let programs = catalog(&PROGRAMS);
    let moved = |overload: u8| {
        let mut asked = pxe(DISCOVER, 7)
            .without(93)
            .without(60)
            .with(52, &[overload]);
        asked.fixed[108..115].copy_from_slice(&[93, 2, 0, 11, 255, 0, 0]);
        let class = b"PXEClient";
        asked.fixed[44] = 60;
        asked.fixed[45] = u8::try_from(class.len()).unwrap();
        asked.fixed[46..46 + class.len()].copy_from_slice(class);
        asked.fixed[46 + class.len()] = 255;
        asked
    };
    let answer = moved(3).answer(Way::Broadcast, &programs);
    assert_eq!(answer.file, "ipxe-arm64.efi");
    for overload in [0, 1] {
        let reaction = moved(overload).react(Way::Broadcast, &programs);
        assert_eq!(reaction.answer, Err(Silence::NotOurs), "{overload}");
    }
    // Without the architecture that stands in `file`, it is a BIOS.
    assert_eq!(moved(2).answer(Way::Broadcast, &programs).file, PROGRAMS[0]);
}

#[test]
fn c78_only_pxe_and_http_boot_clients_are_answered_and_with_their_own_class() {
    let programs = catalog(&PROGRAMS);
    let asked = pxe(DISCOVER, 0);
    let answer = asked.answer(Way::Broadcast, &programs);
    assert_eq!(option(&answer, 60).unwrap(), b"PXEClient");
    for other in [&b"MSFT 5.0"[..], b"", b"pxeclient", b"AnyPXEClient"] {
        let reaction = asked
            .clone()
            .with(60, other)
            .react(Way::Broadcast, &programs);
        assert_eq!(reaction.answer, Err(Silence::NotOurs));
    }
    let plain = asked.clone().without(60).react(Way::Broadcast, &programs);
    assert_eq!(plain.answer, Err(Silence::NotOurs));
    let http = asked
        .with(60, b"HTTPClient:Arch:00016:UNDI:003001")
        .with(93, &[0, 16]);
    let server = Server {
        http_port: Some(8080),
        ..SERVER
    };
    let answer = react(&http.octets(), Way::Broadcast, server, &programs)
        .answer
        .unwrap();
    assert_eq!(option(&answer, 60).unwrap(), b"HTTPClient");
    let url = b"http://192.0.2.1:8080/boot/ipxe.efi";
    assert_eq!(option(&answer, 67).unwrap(), url);
    // Nobody has the files by HTTP here.
    let none = http.react(Way::Broadcast, &programs).answer;
    assert!(
        matches!(none, Err(Silence::NothingToBoot(CARD, _))),
        "{none:?}"
    );
}

#[test]
fn c79_architectures_are_pairs_and_may_be_several_and_the_machine_is_said_again() {
    let programs = catalog(&PROGRAMS);
    let asked = pxe(DISCOVER, 0);
    let answer = asked.answer(Way::Broadcast, &programs);
    assert_eq!(option(&answer, 97).unwrap(), MACHINE);
    for bad in [&[][..], &[0], &[0, 0, 7]] {
        let reaction = asked.clone().with(93, bad).react(Way::Broadcast, &programs);
        assert_eq!(reaction.answer, Err(Silence::Malformed), "{bad:?}");
    }
    // The first that there is something for.
    let several = asked.clone().with(93, &[0, 10, 0, 11, 0, 7]);
    assert_eq!(
        several.answer(Way::Broadcast, &programs).file,
        "ipxe-arm64.efi"
    );
    // Before RFC 4578 it stood in the class alone.
    let old = asked
        .clone()
        .without(93)
        .with(60, b"PXEClient:Arch:00007:UNDI:002001");
    assert_eq!(old.answer(Way::Broadcast, &programs).file, "boot/ipxe.efi");
    let older = asked.without(93).without(97).with(60, b"PXEClient");
    let answer = older.answer(Way::Broadcast, &programs);
    assert_eq!(
        (answer.file.as_str(), option(&answer, 97)),
        (PROGRAMS[0], None)
    );
}

#[test]
fn c80_an_offer_names_this_server_and_gives_no_address() {
    let asked = pxe(DISCOVER, 0).address(12, Ipv4Addr::new(203, 0, 113, 9));
    let answer = asked.answer(Way::Broadcast, &catalog(&PROGRAMS));
    let message = Message::new(&answer.octets).unwrap();
    assert_eq!(message.yiaddr(), Ipv4Addr::UNSPECIFIED);
    assert_eq!(message.ciaddr(), Ipv4Addr::UNSPECIFIED);
    assert_eq!(message.siaddr(), OURS);
    assert_eq!(message.xid(), 0xdead_beef);
    assert_eq!(message.chaddr(), CARD.0);
    assert_eq!(message.fname(), b"boot/undionly.kpxe");
    assert_eq!(option(&answer, 53), Some(vec![2]));
    assert_eq!(option(&answer, 54), Some(OURS.octets().into()));
    // Neither a subnet, nor a router, nor a lease.
    for code in [1, 3, 6, 51, 58, 59] {
        assert_eq!(option(&answer, code), None, "{code}");
    }
    assert!(answer.octets.len() >= DHCP_REPLY_BYTES_MIN);
}

#[test]
fn c81_who_asks_on_4011_is_answered_alone_with_the_file() {
    let source = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 50), 1067);
    let way = Way::BootServer(source);
    let programs = catalog(&PROGRAMS);
    let asked = pxe(REQUEST, 7).address(12, *source.ip());
    let answer = asked.answer(way, &programs);
    assert_eq!(answer.to, source);
    assert_eq!(answer.file, "boot/ipxe.efi");
    assert_eq!(option(&answer, 53), Some(vec![5]));
    let message = Message::new(&answer.octets).unwrap();
    assert_eq!(
        (message.ciaddr(), message.yiaddr()),
        (*source.ip(), Ipv4Addr::UNSPECIFIED)
    );
    // The type of boot server that it wants comes back.
    let item = asked
        .clone()
        .with(43, &[71, 4, 0, 9, 0, 0, 255])
        .answer(way, &programs);
    assert_eq!(option(&item, 43), Some(vec![71, 4, 0, 9, 0, 0, 255]));
    // A request on 67 is for the DHCP server, and an offer is not asked for on 4011.
    assert_eq!(
        asked.react(Way::Broadcast, &programs).answer,
        Err(Silence::NotOurs)
    );
    assert_eq!(
        pxe(DISCOVER, 7).react(way, &programs).answer,
        Err(Silence::NotOurs)
    );
}

#[test]
fn c83_c84_a_bios_is_told_to_ask_nobody_else_and_uefi_gets_no_option_43() {
    let programs = catalog(&PROGRAMS);
    let bios = pxe(DISCOVER, 0).answer(Way::Broadcast, &programs);
    // PXE_DISCOVERY_CONTROL with bit 3, and the end.
    assert_eq!(option(&bios, 43), Some(vec![6, 1, 8, 255]));
    for uefi in [6, 7, 9, 11] {
        let answer = pxe(DISCOVER, uefi).answer(Way::Broadcast, &programs);
        assert_eq!(option(&answer, 43), None, "{uefi}");
    }
}

#[test]
fn c85_each_architecture_has_its_file() {
    let programs = catalog(&PROGRAMS);
    for (number, file) in [
        (0, Some("boot/undionly.kpxe")),
        (6, Some("boot/ipxe-i386.efi")),
        (7, Some("boot/ipxe.efi")),
        (9, Some("boot/ipxe.efi")),
        (11, Some("ipxe-arm64.efi")),
        (15, Some("boot/ipxe-i386.efi")),
        (16, Some("boot/ipxe.efi")),
        (19, Some("ipxe-arm64.efi")),
        (22, None),
        (4, None),
        (0xffff, None),
    ] {
        let answer = pxe(DISCOVER, number)
            .react(Way::Broadcast, &programs)
            .answer;
        assert_eq!(
            answer.as_ref().ok().map(|answer| answer.file.as_str()),
            file,
            "{number}"
        );
    }
}

#[test]
fn what_is_set_for_the_terminal_goes_before_the_site_and_the_site_before_what_is_usual() {
    let own = format!("boot/{CARD}.loaders");
    let files = ["boot/ipxe.efi", "site.efi", "own.efi"];
    let file = |texts: &[(&str, &str)]| {
        let catalog = with_texts(&files, texts);
        pxe(DISCOVER, 7).answer(Way::Broadcast, &catalog).file
    };
    let site = ("boot/loaders", "arm64-uefi own.efi\nx86-64-uefi site.efi\n");
    assert_eq!(file(&[]), "boot/ipxe.efi");
    assert_eq!(file(&[site]), "site.efi");
    assert_eq!(file(&[site, (&own, "x86-64-uefi own.efi")]), "own.efi");
    // What the catalog does not have, and what says nothing of this architecture, is passed over.
    assert_eq!(file(&[site, (&own, "x86-64-uefi gone.efi\n")]), "site.efi");
    assert_eq!(
        file(&[site, (&own, "x86-bios own.efi\nnonsense\n\u{0}")]),
        "site.efi"
    );
    assert_eq!(
        file(&[("boot/loaders", &"x86-64-uefi site.efi\n".repeat(400))]),
        "boot/ipxe.efi"
    );
}

#[test]
fn ipxe_gets_the_script_and_not_itself_again() {
    let own = format!("boot/{CARD}.ipxe");
    let asked = pxe(DISCOVER, 0);
    let variants = [
        asked.clone().with(77, b"iPXE"),
        asked.clone().with(77, b"\x04iPXE"),
        asked.clone().with(175, &[0xb1, 1, 1]),
    ];
    for ipxe in variants {
        let file = |names: &[&str]| {
            let answer = ipxe.react(Way::Broadcast, &catalog(names)).answer;
            answer.ok().map(|answer| answer.file)
        };
        assert_eq!(file(&["boot/undionly.kpxe", &own]), Some(own.clone()));
        // By its own name, so that it is known who asks.
        assert_eq!(file(&["boot/unknown.ipxe", "boot.ipxe"]), Some(own.clone()));
        assert_eq!(
            file(&["boot/undionly.kpxe", "boot.ipxe"]),
            Some("boot.ipxe".into())
        );
        assert_eq!(file(&["boot/undionly.kpxe"]), None);
    }
    let other = asked
        .with(77, b"gPXE")
        .answer(Way::Broadcast, &catalog(&PROGRAMS));
    assert_eq!(other.file, "boot/undionly.kpxe");
}

#[test]
fn c87_a_relays_question_is_answered_to_the_relay_with_what_it_added() {
    let relay = Ipv4Addr::new(198, 51, 100, 1);
    let information = [1, 4, b'p', b'o', b'r', b't'];
    let asked = pxe(DISCOVER, 0).address(24, relay).with(82, &information);
    let programs = catalog(&PROGRAMS);
    let answer = asked.answer(Way::Relayed, &programs);
    assert_eq!(answer.to, SocketAddrV4::new(relay, SERVER_PORT));
    assert_eq!(option(&answer, 82).unwrap(), information);
    assert_eq!(Message::new(&answer.octets).unwrap().giaddr(), relay);
    // Where relays are not expected, such an address is anybody's; and what comes to us alone without a relay is nobody's.
    assert_eq!(
        asked.react(Way::Broadcast, &programs).answer,
        Err(Silence::NotOurWay)
    );
    let bare = pxe(DISCOVER, 0).react(Way::Relayed, &programs);
    assert_eq!(bare.answer, Err(Silence::NotOurWay));
}

#[test]
fn c88_a_client_without_an_address_is_answered_by_broadcast_and_its_flag_comes_back() {
    let programs = catalog(&PROGRAMS);
    for flag in [0x80, 0] {
        let mut asked = pxe(DISCOVER, 0).address(12, Ipv4Addr::new(203, 0, 113, 9));
        asked.fixed[10] = flag;
        let answer = asked.answer(Way::Broadcast, &programs);
        assert_eq!(answer.to, EVERYBODY);
        assert_eq!(answer.octets[10], flag);
    }
}

#[test]
fn who_takes_which_address_is_learned_from_what_a_client_says_to_everybody() {
    let address = Ipv4Addr::new(192, 0, 2, 77);
    let programs = catalog(&PROGRAMS);
    let takes = pxe(REQUEST, 0).with(50, &address.octets());
    let reaction = takes.react(Way::Broadcast, &programs);
    assert_eq!(reaction.learned, Some((address, CARD)));
    // The system that runs later renews; it is a terminal of ours, whatever its class.
    let renews = takes.clone().without(60).without(50).address(12, address);
    assert_eq!(
        renews.react(Way::Broadcast, &programs).learned,
        Some((address, CARD))
    );
    let mut stranger = renews.clone();
    stranger.fixed[33] = 9;
    assert_eq!(stranger.react(Way::Broadcast, &programs).learned, None);
    // Not from who asks for one, and not from afar.
    let asks = pxe(DISCOVER, 0).with(50, &address.octets());
    assert_eq!(asks.react(Way::Broadcast, &programs).learned, None);
    let source = SocketAddrV4::new(address, CLIENT_PORT);
    for way in [Way::Relayed, Way::BootServer(source)] {
        assert_eq!(takes.react(way, &programs).learned, None);
    }
    for nobody in [
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::LOCALHOST,
    ] {
        let odd = pxe(REQUEST, 0).with(50, &nobody.octets());
        assert_eq!(odd.react(Way::Broadcast, &programs).learned, None);
    }
}

#[test]
fn an_answer_is_never_a_question() {
    let programs = catalog(&PROGRAMS);
    let answer = pxe(DISCOVER, 0).answer(Way::Broadcast, &programs);
    let source = SocketAddrV4::new(OURS, SERVER_PORT);
    for way in [Way::Broadcast, Way::Relayed, Way::BootServer(source)] {
        let reaction = react(&answer.octets, way, SERVER, &programs);
        assert_eq!(reaction.answer, Err(Silence::NotOurs));
    }
}

#[test]
fn no_message_however_damaged_brings_more_than_silence_or_one_bounded_answer() {
    let programs = catalog(&PROGRAMS);
    let source = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 50), 68);
    let ways = [Way::Broadcast, Way::Relayed, Way::BootServer(source)];
    let check = |octets: &[u8]| {
        for way in ways {
            if let Ok(answer) = react(octets, way, SERVER, &programs).answer {
                let message = Message::new(&answer.octets).unwrap();
                assert_eq!(message.yiaddr(), Ipv4Addr::UNSPECIFIED);
                assert!(answer.octets.len() <= 1500);
            }
        }
    };
    for asked in [
        pxe(DISCOVER, 0),
        pxe(REQUEST, 7).with(43, &[71, 4, 0, 0, 0, 0, 255]),
        pxe(DISCOVER, 7)
            .with(52, &[3])
            .with(82, &[1; 255])
            .address(24, OURS),
    ] {
        let octets = asked.octets();
        for len in 0..octets.len() {
            check(&octets[..len]);
        }
        for at in 0..octets.len() {
            for value in [0, 1, 2, 3, 16, 17, 52, 60, 93, 127, 128, 254, 255] {
                let mut changed = octets.clone();
                changed[at] = value;
                check(&changed);
            }
        }
    }
    for long in [vec![0; 2048], vec![255; 2048], vec![1; 2048]] {
        check(&long);
    }
}
