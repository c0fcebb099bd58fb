//! The licences that both servers of a pair have, by what the partner told: what counts of them, and what is shown to be different.

use daybreak_admin::licensing::{
    Agreement, Count, Licence, PairView, Redundancy, Situation, Summary, ToldLicences, status,
};
use daybreak_sync::policy::Role;

use crate::support::vendor::{DAY_MS, NOW_MS, id, licence};
use crate::table::{judged, judged_at};

/// A partner with these licences, whose time it is.
fn valid(licences: Vec<Summary>) -> ToldLicences {
    ToldLicences {
        in_force: !licences.is_empty(),
        valid: licences,
        ended: Vec::new(),
    }
}

#[test]
fn where_each_server_has_its_own_licences_the_smaller_number_counts_and_a_difference_is_shown() {
    let own = [licence("full", &[1], &[("terminal-connection", 50)])];
    let theirs = |count| {
        let mut theirs = licence("full", &[2], &[("terminal-connection", count)]);
        theirs.id = daybreak_admin::object::Id::parse("theirs").expect("an identifier");
        Summary::of(&theirs)
    };
    for (told, seats, agrees) in [
        (None, 50, None),
        (Some(vec![theirs(50)]), 50, Some(true)),
        (Some(vec![theirs(30)]), 30, Some(false)),
        (Some(vec![theirs(80)]), 50, Some(false)),
        // Nothing that both have: as without a licence.
        (Some(vec![]), 10, Some(false)),
    ] {
        let pair = PairView {
            role: Role::Primary,
            automatic: false,
            ceiling: Redundancy::Enterprise,
            partner: Some(id(2)),
            partner_licences: told.map(valid),
        };
        let status = judged(&own, Some(&pair));
        assert_eq!(status.entitlement.seats, Count::Of(seats));
        match (agrees, status.agreement) {
            (None, Agreement::Unknown) | (Some(true), Agreement::Agrees) => {}
            (Some(false), Agreement::Differs(what)) => {
                assert!(what[0].starts_with("terminal-connection: 50 on this server"));
            }
            (expected, found) => panic!("{expected:?} {found:?}"),
        }
    }
}

#[test]
fn where_each_server_has_its_own_licences_the_smaller_number_of_every_other_product_counts_too() {
    let named = |mut licence: Licence, name: &str| {
        licence.id = daybreak_admin::object::Id::parse(name).expect("an identifier");
        licence
    };
    let own = |number: u8, name: &str, counts: &[(&str, u32)]| {
        named(licence("full", &[number], counts), name)
    };
    let both = named(
        licence("full", &[1, 2], &[("instant-failover", 100)]),
        "both",
    );
    let ours = own(
        1,
        "ours",
        &[("instant-failover", 30), ("windows-client", 4)],
    );
    let theirs = own(
        2,
        "theirs",
        &[("instant-failover", 20), ("windows-client", 8)],
    );
    let others = own(2, "others", &[("terminal-connection", 50)]);
    let told = |valid: &[&Licence], ended: &[&Licence]| {
        let summaries =
            |licences: &[&Licence]| licences.iter().map(|one| Summary::of(one)).collect();
        Some(ToldLicences {
            in_force: !valid.is_empty(),
            valid: summaries(valid),
            ended: summaries(ended),
        })
    };
    // Instant failover and Windows clients, of which this server has 30 and 4 for itself.
    for (told, shared, expected) in [
        (None, false, (30, 4)),
        (told(&[&theirs], &[]), false, (20, 4)),
        // What is for both counts beside.
        (told(&[&theirs, &both], &[]), true, (120, 4)),
        // What terminals use goes on after an end, and with a partner that has nothing yet.
        (told(&[], &[&theirs]), false, (20, 4)),
        (told(&[], &[]), false, (30, 4)),
        (told(&[&both], &[]), true, (130, 4)),
        // One that has licences for itself, but none of these products.
        (told(&[&others], &[]), false, (0, 0)),
    ] {
        let pair = PairView {
            role: Role::Primary,
            automatic: true,
            ceiling: Redundancy::Enterprise,
            partner: Some(id(2)),
            partner_licences: told,
        };
        let mut installed = vec![ours.clone()];
        installed.extend(shared.then(|| both.clone()));
        let entitlement = judged(&installed, Some(&pair)).entitlement;
        let found = (entitlement.instant_failover, entitlement.windows_client);
        let (failover, clients) = expected;
        let expected = (Count::Of(failover), Count::Of(clients));
        assert_eq!(found, expected, "{:?}", pair.partner_licences);
    }
}

#[test]
fn what_has_ended_or_not_begun_on_one_server_is_neither_counted_nor_missed_on_the_other() {
    let own = licence("full", &[1], &[("terminal-connection", 50)]);
    let both = |name: &str, from_days: u64, days: u64| {
        let mut both = licence("full", &[1, 2], &[("redundant-terminal-connection", 7)]);
        both.id = daybreak_admin::object::Id::parse(name).expect("an identifier");
        both.valid_from_ms = NOW_MS + from_days * DAY_MS;
        both.valid_until_ms = Some(NOW_MS + days * DAY_MS);
        both
    };
    let theirs = {
        let mut theirs = licence("full", &[2], &[("terminal-connection", 50)]);
        theirs.valid_until_ms = Some(NOW_MS + 10 * DAY_MS);
        [theirs]
    };
    // The partner tells what it has on the same day, by its own clock.
    let on_day = |day: u64, ours: &[Licence]| {
        let now_ms = NOW_MS + day * DAY_MS;
        let told = status(&Situation {
            this: id(2),
            installed: &theirs,
            lost: &[],
            pair: None,
            now_ms,
            latest_ms: now_ms,
        })
        .told;
        let pair = PairView {
            role: Role::Primary,
            automatic: true,
            ceiling: Redundancy::Enterprise,
            partner: Some(id(2)),
            partner_licences: Some(told),
        };
        let status = judged_at(ours, Some(&pair), now_ms, now_ms);
        (pair.licenses_partner(), status)
    };
    // One for both that has ended, and one that has not begun, are not yet or no more to be had by anybody.
    let ours = [own, both("over", 0, 1), both("later", 30, 40)];
    let (licensed, before) = on_day(9, &ours);
    assert!(licensed);
    assert_eq!(before.entitlement.seats, Count::Of(50));
    assert_eq!(before.agreement, Agreement::Agrees);
    // Theirs ends: nothing is left that both have.
    let (licensed, after) = on_day(10, &ours);
    assert!(!licensed);
    assert_eq!(after.entitlement.seats, Count::Of(10));
    let Agreement::Differs(differences) = after.agreement else {
        panic!("a difference");
    };
    assert_eq!(
        differences,
        ["terminal-connection: 50 on this server, 0 on the partner"]
    );
    // One for both that has begun, and which the partner lacks.
    let (_, later) = on_day(31, &ours);
    let Agreement::Differs(differences) = later.agreement else {
        panic!("a difference");
    };
    assert!(differences[0].starts_with("the partner does not have activation 1 of licence later"));
}

#[test]
fn a_licence_for_two_that_only_one_of_them_has_is_shown() {
    let both = licence("mirrored", &[1, 2], &[("mirrored-terminal-connection", 50)]);
    let mut earlier = both.clone();
    earlier.activation = 1;
    let mut later = both.clone();
    later.activation = 2;
    let agreement = |ours: &[Licence], theirs: &[&Licence]| {
        let pair = PairView {
            role: Role::Primary,
            automatic: true,
            ceiling: Redundancy::Enterprise,
            partner: Some(id(2)),
            partner_licences: Some(valid(
                theirs.iter().map(|licence| Summary::of(licence)).collect(),
            )),
        };
        judged(ours, Some(&pair)).agreement
    };
    assert_eq!(agreement(&[later.clone()], &[&later]), Agreement::Agrees);
    for (ours, theirs, differences) in [
        (vec![later.clone()], vec![], 1),
        (vec![], vec![&later], 1),
        (vec![later.clone()], vec![&earlier], 2),
    ] {
        let Agreement::Differs(found) = agreement(&ours, &theirs) else {
            panic!("a difference");
        };
        assert_eq!(found.len(), differences, "{found:?}");
    }
    assert_eq!(judged(&[both], None).agreement, Agreement::Alone);
}
