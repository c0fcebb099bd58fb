//! SIGKILL at random points, in a loop: of the program that publishes, and of the engine that serves.
//!
//! Nothing served is ever half of anything, and the next command works as if nothing had happened.

use std::time::Duration;

use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::content::{self, split_mix};
use daybreak_tests::poll;
use daybreak_tests::site::Site;

/// Rounds in every run, and in the long one.
const ROUNDS: u64 = 15;
const ROUNDS_LONG: u64 = 1_000;

/// The longest time that a program lives before it is killed. An import here takes about half of it, so that
/// some are killed in the middle, and some have finished.
const LIFE_MAX_US: u64 = 40_000;

const IMAGE_BYTES: usize = 2_000_000;

#[test]
fn killing_the_publisher_leaves_the_old_file_or_the_new_one() {
    kill_publishers(ROUNDS, 1);
}

#[test]
#[ignore = "long: make test-long"]
fn killing_the_publisher_a_thousand_times_leaves_the_old_file_or_the_new_one() {
    kill_publishers(ROUNDS_LONG, 2);
}

#[test]
#[ignore = "long: make test-long"]
fn killing_the_engine_a_thousand_times_never_keeps_the_next_one_from_serving() {
    let image = content::octets(1, 100_000);
    let site = Site::new();
    site.import("image", &image);
    let mut random = 3;
    for _ in 0..ROUNDS_LONG {
        let mut early = site.start_engine(&["--listen", "127.0.0.1:0"]);
        pause(&mut random);
        early.kill();
    }
    Fetch::new(Client::Curl, site.engine(&[]).address()).expect("image", &image);
}

fn kill_publishers(rounds: u64, seed: u64) {
    let mut random = seed;
    let stable = content::octets(seed, 300_000);
    let site = Site::new();
    site.import("stable", &stable);
    site.import("churn", &content::octets(0, IMAGE_BYTES));
    let engine = site.engine(&[]);
    // The rounds whose content may be what is published: the last that a client saw, and all tried since.
    let mut possible = vec![0];
    for round in 1..=rounds {
        let source = site.source("churn", &content::octets(round, IMAGE_BYTES));
        let source = source.to_str().expect("a plain path");
        let mut publisher = site.start_admin(&["import", source, "--name", "churn"]);
        possible.push(round);
        pause(&mut random);
        publisher.kill();

        let client = Fetch::new(Client::Atftp, engine.address())
            .blksize(1428)
            .windowsize(16);
        client.expect("stable", &stable);
        let fetched = client.run("churn");
        let got = fetched
            .content
            .unwrap_or_else(|| panic!("round {round}: {}", fetched.output));
        let is_it = |round: &u64| got == content::octets(*round, IMAGE_BYTES);
        let seen = possible.iter().rposition(is_it);
        let seen =
            seen.unwrap_or_else(|| panic!("round {round}: neither an old file nor a new one"));
        possible.drain(..seen);
    }
    let verified = site.admin(&["verify"]);
    assert!(
        verified.status.success(),
        "verify: {}",
        String::from_utf8_lossy(&verified.stdout)
    );
    site.import("after", &stable);
    poll::until(
        "what is published afterwards is served",
        Duration::from_secs(5),
        || {
            Fetch::new(Client::Curl, engine.address())
                .run("after")
                .content
        },
    );
}

/// Lets a program live for a random time: the pause is the fault, not a wait for a state.
fn pause(random: &mut u64) {
    let life = Duration::from_micros(split_mix(random) % LIFE_MAX_US);
    poll::try_until(life, || None::<()>);
}
