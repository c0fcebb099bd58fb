//! Servers that are broken on purpose: every monitor can fail, and fails by its name.

use std::cell::RefCell;
use std::collections::HashMap;

use daybreak_tests::world::packet::{Body, error};
use daybreak_tests::world::scenario::Scenario;
use daybreak_tests::world::{
    Report, Sending, Stage, World, check_alone, check_same, run, run_world,
};
use daybreak_tftp::download::Profile;

/// What a quiet world with such a server says.
fn broken(scenario: Scenario, tamper: impl FnMut(Stage<'_, '_>) + 'static) -> &'static str {
    match run_world(move || World::tampered(scenario, Box::new(tamper))) {
        Ok(report) => panic!("nobody noticed: {report:?}"),
        Err(failure) => {
            println!("{failure}");
            failure.monitor
        }
    }
}

/// A server whose sends are changed.
fn sends(scenario: Scenario, mut change: impl FnMut(&mut Vec<Sending>) + 'static) -> &'static str {
    broken(scenario, move |stage| {
        if let Stage::Sends(sent) = stage {
            change(sent);
        }
    })
}

fn windowed() -> Scenario {
    Scenario::quiet(1, &[Profile::plain(1000, 4)], 100_500)
}

fn well(scenario: Scenario) -> Report {
    run(scenario).unwrap_or_else(|failure| panic!("{failure}"))
}

fn is_oack(sending: &Sending) -> bool {
    matches!(&sending.body, Body::Octets(octets) if octets.starts_with(&[0, 6]))
}

#[test]
fn monitor_t1_catches_a_last_octet_that_is_missing() {
    let caught = broken(windowed(), |stage| {
        if let Stage::Wire(Body::Block(block)) = stage
            && block.len == 500
        {
            block.len -= 1;
        }
    });
    assert_eq!(caught, "T1");
}

#[test]
fn monitor_t1_catches_a_block_from_the_wrong_place() {
    let caught = broken(windowed(), |stage| {
        if let Stage::Wire(Body::Block(block)) = stage
            && block.number() == 7
        {
            block.start += 1;
        }
    });
    assert_eq!(caught, "T1");
}

#[test]
fn monitor_t1_catches_another_generation_than_the_pinned_one() {
    let caught = sends(windowed(), |sent| {
        for sending in sent {
            if let Body::Block(block) = &mut sending.body {
                block.key.generation = u8::from(block.number() > 50);
            }
        }
    });
    assert_eq!(caught, "T1");
}

#[test]
fn monitor_t2_catches_a_block_beyond_the_window() {
    let caught = sends(windowed(), |sent| {
        let Some(Sending { path, body, .. }) = sent.last().cloned() else {
            return;
        };
        if let Body::Block(mut block) = body {
            block.start += u64::from(block.len);
            block.header[3] += 1;
            let body = Body::Block(block);
            let leaves = true;
            sent.push(Sending { path, body, leaves });
        }
    });
    assert_eq!(caught, "T2");
}

#[test]
fn monitor_t2_catches_data_that_does_not_wait_for_ack_0() {
    let mut known = None;
    let mut scenario =
        Scenario::quiet(1, &[Profile::plain(1000, 4), Profile::plain(1000, 4)], 9000);
    scenario.terminals[1].on_at = std::time::Duration::from_secs(1);
    let caught = sends(scenario, move |sent| {
        for sending in &*sent {
            if let Body::Block(block) = sending.body
                && block.number() == 1
            {
                known = Some(block);
            }
        }
        if let (Some(block), Some(offer)) = (known, sent.iter().find(|s| is_oack(s)).cloned()) {
            let body = Body::Block(block);
            sent.push(Sending { body, ..offer });
        }
    });
    assert_eq!(caught, "T2");
}

#[test]
fn monitor_t3_catches_an_option_that_nobody_asked_for() {
    let caught = sends(windowed(), |sent| {
        for sending in sent.iter_mut().filter(|sending| is_oack(sending)) {
            if let Body::Octets(octets) = &sending.body {
                sending.body = Body::octets(&[octets, &b"timeout\x001\0"[..]].concat());
            }
        }
    });
    assert_eq!(caught, "T3");
}

#[test]
fn monitor_t4_catches_data_for_a_duplicate_ack() {
    let mut profile = Profile::rfc1350();
    profile.ack_copies = 2;
    let (mut heard, mut again, mut last) = (Vec::new(), false, None);
    let caught = broken(
        Scenario::quiet(1, &[profile], 9000),
        move |stage| match stage {
            Stage::Hears(_, octets) => {
                again = heard == octets;
                heard = octets.to_vec();
            }
            Stage::Sends(sent) => {
                if std::mem::take(&mut again) {
                    sent.extend(last.clone());
                }
                last = sent.last().cloned().or(last.take());
            }
            _ => {}
        },
    );
    assert_eq!(caught, "T4");
}

#[test]
fn monitor_t4_catches_a_rewind_for_every_report_of_one_gap() {
    // The wire loses block 6 once; the client reports the gap, and this server answers with two rewinds.
    let mut window: Vec<Sending> = Vec::new();
    let mut copies: HashMap<u16, u32> = HashMap::new();
    let mut doubled = false;
    let caught = sends(windowed(), move |sent| {
        for sending in sent.iter_mut() {
            if let Body::Block(block) = sending.body {
                let copies = copies.entry(block.number()).or_default();
                *copies += 1;
                sending.leaves = block.number() != 6 || *copies > 1;
                if block.number() == 6 && *copies == 2 {
                    doubled = true;
                }
            }
        }
        if std::mem::take(&mut doubled) {
            window.clone_from(sent);
            sent.append(&mut window);
        }
    });
    assert_eq!(caught, "T4");
}

#[test]
fn monitor_t5_catches_an_error_for_an_error() {
    let mut heard = None;
    let caught = broken(
        Scenario::quiet(1, &[Profile::edk2()], 9000),
        move |stage| match stage {
            Stage::Hears(path, [0, 5, ..]) => heard = Some(path),
            Stage::Sends(sent) => {
                if let Some(path) = heard.take() {
                    let body = Body::octets(&error(4, "no, you"));
                    let leaves = true;
                    sent.push(Sending { path, body, leaves });
                }
            }
            _ => {}
        },
    );
    assert_eq!(caught, "T5");
}

#[test]
fn monitor_t5_catches_a_packet_to_somebody_who_never_asked() {
    let caught = sends(windowed(), |sent| {
        for sending in sent {
            let port = sending.path.remote.port();
            sending.path.remote.set_port(port + 1);
        }
    });
    assert_eq!(caught, "T5");
}

#[test]
fn monitor_t6_catches_the_wrong_number_after_65535() {
    let scenario = Scenario::quiet(1, &[Profile::plain(8, 64)], 8 * 65_600);
    let caught = sends(scenario, |sent| {
        for sending in sent {
            if let Body::Block(block) = &mut sending.body
                && block.start / 8 + 1 > 65_535
            {
                let number = block.number() + 1;
                block.header[2..].copy_from_slice(&number.to_be_bytes());
            }
        }
    });
    assert_eq!(caught, "T6");
}

#[test]
fn monitor_t7_catches_a_packet_after_the_end() {
    let mut last = None;
    let mut over = false;
    let caught = broken(
        Scenario::quiet(1, &[Profile::rfc1350()], 700),
        move |stage| match stage {
            Stage::Hears(_, octets) => over = octets == [0, 4, 0, 2],
            Stage::Sends(sent) => {
                if over {
                    sent.extend(last.clone());
                }
                last = sent.last().cloned().or(last.take());
            }
            _ => {}
        },
    );
    assert_eq!(caught, "T7");
}

#[test]
fn monitor_t7_catches_a_transfer_without_a_timer() {
    let caught = broken(windowed(), |stage| {
        if let Stage::Books(audit) = stage {
            audit.timers = audit.timers.saturating_sub(1);
        }
    });
    assert_eq!(caught, "T7");
}

#[test]
fn monitor_t8_catches_an_image_that_stays_pinned() {
    let mut pinned = Vec::new();
    let caught = broken(windowed(), move |stage| {
        if let Stage::Leaves(train) = stage {
            pinned.push(train.file.clone());
        }
    });
    assert_eq!(caught, "T8");
}

#[test]
fn monitor_t9_catches_more_transfers_than_allowed() {
    let caught = broken(windowed(), |stage| {
        if let Stage::Books(audit) = stage {
            audit.transfers += 40_000;
            audit.timers += 40_000;
        }
    });
    assert_eq!(caught, "T9");
}

#[test]
fn monitor_t10_catches_a_flood_to_a_source_that_never_answered() {
    let caught = sends(windowed(), |sent| {
        if let Some(offer) = sent.iter().find(|sending| is_oack(sending)).cloned() {
            sent.extend(vec![offer; 5]);
        }
    });
    assert_eq!(caught, "T10");
}

#[test]
fn monitor_t11_catches_a_train_that_is_too_long() {
    let scenario = Scenario::quiet(1, &[Profile::plain(512, 64)], 512 * 200);
    let caught = broken(scenario, |stage| {
        if let Stage::Leaves(train) = stage {
            train.count = train.count.max(65);
        }
    });
    assert_eq!(caught, "T11");
}

#[test]
fn monitor_t11_catches_a_short_block_within_a_file() {
    let caught = sends(windowed(), |sent| {
        for sending in sent {
            if let Body::Block(block) = &mut sending.body {
                block.len -= 1;
            }
        }
    });
    assert_eq!(caught, "T11");
}

#[test]
fn monitor_t12_catches_a_panic() {
    let caught = broken(windowed(), |stage| {
        if let Stage::Hears(_, [0, 4, 0, 8]) = stage {
            panic!("an ACK of block 8 was too much");
        }
    });
    assert_eq!(caught, "T12");
}

#[test]
fn monitor_t13_catches_blocks_out_of_order() {
    let caught = sends(windowed(), |sent| {
        if let [one, other, ..] = sent.as_mut_slice() {
            std::mem::swap(&mut one.body, &mut other.body);
        }
    });
    assert_eq!(caught, "T13");
}

#[test]
fn monitor_t13_catches_a_client_that_gets_something_else_alone() {
    let scenario = Scenario::quiet(1, &[Profile::ipxe(), Profile::ipxe()], 9000);
    let mut report = well(scenario.clone());
    check_alone(&scenario, &report).expect("it is the same");
    for (digest, _) in report.digests.iter_mut().flatten() {
        *digest ^= 1;
    }
    let caught = check_alone(&scenario, &report).expect_err("it differs");
    assert_eq!(caught.monitor, "T13");
}

#[test]
fn monitor_t14_catches_a_run_that_differs() {
    thread_local!(static RUNS: RefCell<u32> = const { RefCell::new(0) });
    // A server that does something else each time that it is started.
    let run_once = || {
        let run = RUNS.with_borrow_mut(|runs| {
            *runs += 1;
            *runs
        });
        let mut left = run;
        run_world(move || {
            let tamper = move |stage: Stage<'_, '_>| {
                if let Stage::Sends(sent) = stage
                    && left > 0
                    && let Some(sending) = sent.last_mut()
                {
                    sending.leaves = false;
                    left -= 1;
                }
            };
            World::tampered(windowed(), Box::new(tamper))
        })
        .expect("a lost datagram is no failure")
    };
    assert!(check_same(&well(windowed()), &well(windowed())).is_ok());
    let caught = check_same(&run_once(), &run_once()).expect_err("they differ");
    assert_eq!(caught.monitor, "T14");
}

#[test]
fn monitor_liveness_catches_an_end_that_never_comes() {
    let caught = sends(windowed(), |sent| {
        for sending in sent {
            sending.leaves &= !matches!(sending.body, Body::Block(block) if block.len == 500);
        }
    });
    assert_eq!(caught, "liveness");
}
