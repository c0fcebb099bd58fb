//! Debian's TFTP clients get from the engine what an operator imported, to the octet.
//!
//! Each test runs on every way the engine can move packets; see [`WAYS`].

use std::net::SocketAddr;
use std::time::Duration;

use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::content;
use daybreak_tests::site::Site;

/// The ways of an engine to move packets: each driver, and each choice of ports.
const WAYS: [&[&str]; 4] = [
    &["--io", "uring"],
    &["--io", "tokio-uring"],
    &["--io", "portable"],
    &["--io", "auto", "--single-port"],
];

/// How long an engine with nothing to do may take to end.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// The clients, each with the options that an operator would give it.
fn fetches(server: SocketAddr) -> [Fetch<'static>; 6] {
    [
        Fetch::new(Client::Curl, server),
        Fetch::new(Client::Curl, server).blksize(1428),
        Fetch::new(Client::TftpHpa, server),
        Fetch::new(Client::Atftp, server),
        Fetch::new(Client::Atftp, server)
            .blksize(1428)
            .windowsize(16),
        Fetch::new(Client::Atftp, server)
            .blksize(8192)
            .windowsize(64),
    ]
}

#[test]
fn every_client_gets_files_of_every_awkward_length() {
    let lengths = [
        0,
        1,
        511,
        512,
        513,
        1427,
        1428,
        1429,
        512 * 16,
        1428 * 16,
        8192 * 64,
        1_000_000,
    ];
    let site = Site::new();
    for len in lengths {
        site.import(&format!("len/{len}"), &content::octets(len as u64, len));
    }
    for way in WAYS {
        let engine = site.engine(way);
        for fetch in fetches(engine.address()) {
            for len in lengths {
                // curl takes a size of zero for an error of the server: it is not asked for one.
                let fetch = match (fetch.client(), len) {
                    (Client::Curl, 0) => {
                        Fetch::new(Client::Curl, engine.address()).without_options()
                    }
                    _ => fetch,
                };
                fetch.expect(&format!("len/{len}"), &content::octets(len as u64, len));
            }
        }
        assert!(
            engine.terminate(END_PATIENCE).success(),
            "{way:?}: a clean end"
        );
    }
}

#[test]
fn a_file_of_more_than_65535_blocks_is_whole_at_every_client() {
    let image = content::octets(7, 512 * 65_537 + 100);
    let site = Site::new();
    site.import("long.img", &image);
    // How numbers are counted on does not depend on the driver. All at once: a lock-step client of so many blocks mostly
    // waits for its next one.
    let [ports_of_their_own, .., one_port] = WAYS;
    std::thread::scope(|scope| {
        for way in [ports_of_their_own, one_port] {
            let (site, image) = (&site, &image);
            scope.spawn(move || {
                let engine = site.engine(way);
                let server = engine.address();
                Fetch::new(Client::Curl, server).expect("long.img", image);
                Fetch::new(Client::TftpHpa, server).expect("long.img", image);
                Fetch::new(Client::Atftp, server)
                    .windowsize(16)
                    .expect("long.img", image);
            });
        }
    });
}

#[test]
fn extreme_block_sizes_and_windows_are_served() {
    let image = content::octets(8, 300_000);
    let site = Site::new();
    site.import("image", &image);
    for way in WAYS {
        let engine = site.engine(way);
        let atftp = Fetch::new(Client::Atftp, engine.address());
        atftp.blksize(65_464).expect("image", &image);
        atftp.blksize(65_464).windowsize(4).expect("image", &image);
        atftp.blksize(8).windowsize(64).expect("image", &image);
        atftp.blksize(1468).windowsize(1024).expect("image", &image);
    }
}

#[test]
fn netascii_gives_the_text_back() {
    let text = content::text(9, 100_000);
    let site = Site::new();
    site.import("motd.txt", &text);
    for way in WAYS {
        let engine = site.engine(way);
        Fetch::new(Client::TftpHpa, engine.address())
            .netascii()
            .expect("motd.txt", &text);
    }
}

#[test]
fn a_missing_file_is_an_error_that_every_client_shows() {
    let site = Site::new();
    site.import("there", b"content");
    for way in WAYS {
        let engine = site.engine(way);
        for client in Client::ALL {
            let fetched = Fetch::new(client, engine.address()).run("not-there");
            assert!(
                fetched.content.is_none(),
                "{client:?} got a file that is not there"
            );
            let said = fetched.output.to_lowercase();
            // curl says only its number: 68 is "file not found".
            let shown = said.contains("not found") || said.contains("exit status: 68");
            assert!(shown, "{client:?} printed: {said}");
        }
    }
}

#[test]
fn names_are_found_as_rom_makers_spell_them() {
    let image = content::octets(10, 10_000);
    let site = Site::new();
    site.import("boot/loader.efi", &image);
    for way in WAYS {
        let engine = site.engine(way);
        let hpa = Fetch::new(Client::TftpHpa, engine.address());
        for spelling in [
            "boot/loader.efi",
            "/boot/loader.efi",
            "//boot//loader.efi",
            "./boot/loader.efi",
        ] {
            hpa.expect(spelling, &image);
        }
        Fetch::new(Client::Atftp, engine.address()).expect("\\boot\\loader.efi", &image);
    }
}

#[test]
fn every_client_is_served_over_ipv6() {
    let image = content::octets(11, 1_000_000);
    let site = Site::new();
    site.import("image", &image);
    for way in WAYS {
        let engine = site.engine_on("[::1]:0", way);
        for fetch in fetches(engine.address()) {
            fetch.expect("image", &image);
        }
    }
}

#[test]
fn every_client_at_once_gets_its_own_file() {
    const ROUNDS: usize = 4;
    let images: Vec<Vec<u8>> = (0..6).map(|n| content::octets(20 + n, 2_000_000)).collect();
    let site = Site::new();
    for (number, image) in images.iter().enumerate() {
        site.import(&format!("mix/{number}"), image);
    }
    for way in WAYS {
        let engine = site.engine(way);
        let fetches = fetches(engine.address());
        std::thread::scope(|scope| {
            for round in 0..ROUNDS {
                for (number, fetch) in fetches.iter().enumerate() {
                    let wanted = (number + round) % images.len();
                    let image = &images[wanted];
                    scope.spawn(move || fetch.expect(&format!("mix/{wanted}"), image));
                }
            }
        });
    }
}
