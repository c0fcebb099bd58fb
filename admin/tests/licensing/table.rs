//! Every kind of licence in every state of a pair.

use std::fmt::Write;

use daybreak_admin::licensing::{
    Count, GrantsNone, Licence, PairView, Product, Redundancy, Situation, Standing, Status,
    Summary, Warning, status,
};
use daybreak_sync::policy::Role;

use crate::support::vendor::{DAY_MS, NOW_MS, id, licence};

/// Alone; and as the primary or the secondary of a pair: synchronized by hand, or by itself with a partner that has not told
/// who it is, with the right one, and with another one.
fn pairs() -> Vec<(&'static str, Option<PairView>)> {
    let pair = |role, automatic, partner: Option<u8>| {
        Some(PairView {
            role,
            automatic,
            ceiling: Redundancy::Enterprise,
            partner: partner.map(id),
            partner_licences: None,
        })
    };
    let (primary, secondary) = (Role::Primary, Role::Secondary);
    vec![
        ("alone", None),
        ("primary by hand", pair(primary, false, Some(2))),
        ("secondary by hand", pair(secondary, false, Some(2))),
        ("primary, partner silent", pair(primary, true, None)),
        ("secondary, partner silent", pair(secondary, true, None)),
        ("primary", pair(primary, true, Some(2))),
        ("secondary", pair(secondary, true, Some(2))),
        ("primary, another partner", pair(primary, true, Some(3))),
        ("secondary, another partner", pair(secondary, true, Some(3))),
    ]
}

pub(crate) fn judged(installed: &[Licence], pair: Option<&PairView>) -> Status {
    judged_at(installed, pair, NOW_MS, 0)
}

pub(crate) fn judged_at(
    installed: &[Licence],
    pair: Option<&PairView>,
    now_ms: u64,
    latest_ms: u64,
) -> Status {
    status(&Situation {
        this: id(1),
        installed,
        lost: &[],
        pair,
        now_ms,
        latest_ms,
    })
}

fn counted(count: Count) -> String {
    count
        .number()
        .map_or("any".into(), |count| count.to_string())
}

/// One line for each state of the pair: how the licence stands, what is in force, how many seats, and what this server does.
fn lines(installed: &[Licence]) -> String {
    let mut lines = String::new();
    for (name, pair) in pairs() {
        let status = judged(installed, pair.as_ref());
        let entitlement = status.entitlement;
        let standing = status
            .licences
            .first()
            .map_or("-", |(_, standing)| standing.word());
        let does = match entitlement.grants_none {
            None => "boots, grants",
            Some(GrantsNone::Mirror) => "boots",
            Some(GrantsNone::Standby) => "stands by",
        };
        assert_eq!(entitlement.standby, does == "stands by");
        let (mode, seats) = (status.mode.word(), counted(entitlement.seats));
        let extras = [
            entitlement.instant_failover,
            entitlement.windows_client,
            entitlement.shared_keyboard_mouse,
        ];
        let extras = extras.map(counted).join(" ");
        let _ = writeln!(
            lines,
            "{name:27} {standing:28} {mode:10} {seats:4} {does:14} {extras}"
        );
    }
    lines
}

const EXTRAS: [(&str, u32); 3] = [
    ("instant-failover", 3),
    ("windows-client", 4),
    ("shared-keyboard-mouse", 5),
];

fn with_extras(connections: (&'static str, u32)) -> Vec<(&'static str, u32)> {
    std::iter::once(connections).chain(EXTRAS).collect()
}

#[test]
fn without_a_licence_ten_terminals_on_one_server() {
    assert_table(&lines(&[]), UNLICENSED);
}

const UNLICENSED: &str = "\
alone                       -                            none       10   boots, grants  10 10 10
primary by hand             -                            none       10   boots, grants  10 10 10
secondary by hand           -                            none       10   stands by      10 10 10
primary, partner silent     -                            none       10   boots, grants  10 10 10
secondary, partner silent   -                            none       10   stands by      10 10 10
primary                     -                            none       10   boots, grants  10 10 10
secondary                   -                            none       10   stands by      10 10 10
primary, another partner    -                            none       10   boots, grants  10 10 10
secondary, another partner  -                            none       10   stands by      10 10 10
";

#[test]
fn no_redundancy_one_server_boots() {
    assert_table(
        &lines(&[licence(
            "none",
            &[1],
            &with_extras(("terminal-connection", 50)),
        )]),
        NONE,
    );
}

const NONE: &str = "\
alone                       active                       none       50   boots, grants  3 4 5
primary by hand             active                       none       50   boots, grants  3 4 5
secondary by hand           active                       none       50   stands by      3 4 5
primary, partner silent     active                       none       50   boots, grants  3 4 5
secondary, partner silent   active                       none       50   stands by      3 4 5
primary                     active                       none       50   boots, grants  3 4 5
secondary                   active                       none       50   stands by      3 4 5
primary, another partner    active                       none       50   boots, grants  3 4 5
secondary, another partner  active                       none       50   stands by      3 4 5
";

#[test]
fn full_redundancy_with_connections_on_each_server() {
    assert_table(
        &lines(&[licence(
            "full",
            &[1],
            &with_extras(("terminal-connection", 50)),
        )]),
        FULL_ON_EACH,
    );
}

const FULL_ON_EACH: &str = "\
alone                       active                       full       50   boots, grants  3 4 5
primary by hand             active                       full       50   boots, grants  3 4 5
secondary by hand           active                       full       50   boots, grants  3 4 5
primary, partner silent     active                       full       50   boots, grants  3 4 5
secondary, partner silent   active                       full       50   boots, grants  3 4 5
primary                     active                       full       50   boots, grants  3 4 5
secondary                   active                       full       50   boots, grants  3 4 5
primary, another partner    active                       full       50   boots, grants  3 4 5
secondary, another partner  active                       full       50   boots, grants  3 4 5
";

#[test]
fn full_redundancy_with_redundant_connections() {
    assert_table(
        &lines(&[licence(
            "full",
            &[1, 2],
            &with_extras(("redundant-terminal-connection", 50)),
        )]),
        FULL,
    );
}

const FULL: &str = "\
alone                       not-paired                   none       10   boots, grants  3 4 5
primary by hand             no-automatic-synchronization none       10   boots, grants  3 4 5
secondary by hand           no-automatic-synchronization none       10   stands by      3 4 5
primary, partner silent     partner-unknown              full       10   boots, grants  3 4 5
secondary, partner silent   partner-unknown              full       10   boots, grants  3 4 5
primary                     active                       full       50   boots, grants  3 4 5
secondary                   active                       full       50   boots, grants  3 4 5
primary, another partner    other-partner                full       10   boots, grants  3 4 5
secondary, another partner  other-partner                full       10   boots, grants  3 4 5
";

#[test]
fn mirrored() {
    assert_table(
        &lines(&[licence(
            "mirrored",
            &[1, 2],
            &with_extras(("mirrored-terminal-connection", 50)),
        )]),
        MIRRORED,
    );
}

const MIRRORED: &str = "\
alone                       not-paired                   none       10   boots, grants  3 4 5
primary by hand             no-automatic-synchronization none       10   boots, grants  3 4 5
secondary by hand           no-automatic-synchronization none       10   stands by      3 4 5
primary, partner silent     partner-unknown              mirrored   10   boots, grants  3 4 5
secondary, partner silent   partner-unknown              mirrored   10   boots          3 4 5
primary                     active                       mirrored   50   boots, grants  3 4 5
secondary                   active                       mirrored   50   boots          3 4 5
primary, another partner    other-partner                mirrored   10   boots, grants  3 4 5
secondary, another partner  other-partner                mirrored   10   boots          3 4 5
";

#[test]
fn enterprise() {
    assert_table(
        &lines(&[licence("enterprise", &[1, 2], &EXTRAS)]),
        ENTERPRISE,
    );
}

const ENTERPRISE: &str = "\
alone                       not-paired                   none       10   boots, grants  3 4 5
primary by hand             no-automatic-synchronization none       10   boots, grants  3 4 5
secondary by hand           no-automatic-synchronization none       10   stands by      3 4 5
primary, partner silent     partner-unknown              enterprise 10   boots, grants  3 4 5
secondary, partner silent   partner-unknown              enterprise 10   boots, grants  3 4 5
primary                     active                       enterprise any  boots, grants  3 4 5
secondary                   active                       enterprise any  boots, grants  3 4 5
primary, another partner    other-partner                enterprise 10   boots, grants  3 4 5
secondary, another partner  other-partner                enterprise 10   boots, grants  3 4 5
";

#[test]
fn other_products_alone_leave_the_ten_terminals() {
    assert_table(&lines(&[licence("none", &[1], &EXTRAS)]), EXTRAS_ALONE);
}

const EXTRAS_ALONE: &str = "\
alone                       active                       none       10   boots, grants  3 4 5
primary by hand             active                       none       10   boots, grants  3 4 5
secondary by hand           active                       none       10   stands by      3 4 5
primary, partner silent     active                       none       10   boots, grants  3 4 5
secondary, partner silent   active                       none       10   stands by      3 4 5
primary                     active                       none       10   boots, grants  3 4 5
secondary                   active                       none       10   stands by      3 4 5
primary, another partner    active                       none       10   boots, grants  3 4 5
secondary, another partner  active                       none       10   stands by      3 4 5
";

/// Compares without the columns' blanks, and shows the whole where it differs.
fn assert_table(found: &str, expected: &str) {
    let words = |text: &str| -> Vec<Vec<String>> {
        let lines = text.lines();
        lines
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect()
    };
    assert!(
        words(found) == words(expected),
        "found:\n{found}\nexpected:\n{expected}"
    );
}

#[test]
fn a_master_licence_holds_only_products_that_go_with_its_redundancy() {
    let fits = |product: Product| {
        let fits = |redundancy: &Redundancy| product.fits(*redundancy);
        let modes = Redundancy::ALL.into_iter().filter(fits);
        modes.map(Redundancy::word).collect::<Vec<_>>().join(" ")
    };
    for (product, modes) in [
        (Product::TerminalConnection, "none full"),
        (Product::RedundantTerminalConnection, "full"),
        (Product::MirroredTerminalConnection, "mirrored"),
        (Product::InstantFailover, "none mirrored full enterprise"),
        (Product::WindowsClient, "none mirrored full enterprise"),
        (
            Product::SharedKeyboardMouse,
            "none mirrored full enterprise",
        ),
    ] {
        assert_eq!(fits(product), modes, "{}", product.word());
    }
}

#[test]
fn without_a_licence_a_hundred_years_change_nothing() {
    let at = |years: u64| {
        let now_ms = NOW_MS + years * 365 * DAY_MS;
        judged_at(&[], None, now_ms, now_ms)
    };
    assert_eq!(at(100), at(0));
    assert!(at(100).entitlement.grants(9) && !at(100).entitlement.grants(10));
    assert_eq!((at(100).expires_ms, at(100).warnings), (None, vec![]));
}

#[test]
fn a_site_may_want_less_than_its_licences_allow_and_never_more() {
    for allowed in Redundancy::ALL {
        let installations: &[u8] = if *allowed.servers().end() > 1 {
            &[1, 2]
        } else {
            &[1]
        };
        let licences = [licence(allowed.word(), installations, &[])];
        for wanted in Redundancy::ALL {
            let pair = PairView {
                role: Role::Secondary,
                automatic: true,
                ceiling: wanted,
                partner: Some(id(2)),
                partner_licences: None,
            };
            let status = judged(&licences, Some(&pair));
            let lesser = allowed.min(wanted);
            assert_eq!(
                (status.mode, status.entitlement.redundancy),
                (lesser, lesser)
            );
            assert_eq!(status.entitlement.standby, lesser == Redundancy::None);
            assert_eq!(
                status.entitlement.seats == Count::Unlimited,
                allowed == Redundancy::Enterprise,
                "what was bought counts, however little of it is wanted"
            );
        }
    }
}

#[test]
fn the_licence_that_allows_most_is_in_force_and_others_are_outranked() {
    let mut installed = [
        licence("none", &[1], &[("terminal-connection", 7)]),
        licence("enterprise", &[1, 2], &[]),
        licence(
            "mirrored",
            &[1, 2],
            &[
                ("mirrored-terminal-connection", 50),
                ("instant-failover", 2),
            ],
        ),
    ];
    for (number, licence) in installed.iter_mut().enumerate() {
        licence.id =
            daybreak_admin::object::Id::parse(&format!("l{number}")).expect("an identifier");
    }
    let (_, pair) = pairs().remove(5);
    let found = judged(&installed, pair.as_ref());
    let words: Vec<&str> = found
        .licences
        .iter()
        .map(|(_, standing)| standing.word())
        .collect();
    assert_eq!(words, ["outranked", "active", "outranked"]);
    assert_eq!(
        (found.mode, found.entitlement.seats),
        (Redundancy::Enterprise, Count::Unlimited)
    );
    assert_eq!(found.entitlement.instant_failover, Count::Of(2));
    // Two of one kind add up.
    let mut two = [installed[0].clone(), installed[0].clone()];
    two[1].id = daybreak_admin::object::Id::parse("other").expect("an identifier");
    assert_eq!(judged(&two, None).entitlement.seats, Count::Of(14));
}

#[test]
fn what_runs_goes_on_after_an_expiry_and_nothing_new_is_granted() {
    let mut ending = licence(
        "full",
        &[1, 2],
        &[
            ("redundant-terminal-connection", 50),
            ("instant-failover", 30),
        ],
    );
    ending.valid_until_ms = Some(NOW_MS + 40 * DAY_MS);
    let ending = [ending];
    let (_, pair) = pairs().remove(6);
    let at = |days: u64| {
        let now_ms = NOW_MS + days * DAY_MS;
        judged_at(&ending, pair.as_ref(), now_ms, now_ms)
    };

    let fine = at(0);
    assert_eq!(
        (fine.licensed, fine.expires_ms),
        (true, Some(NOW_MS + 40 * DAY_MS))
    );
    assert_eq!(fine.warnings, []);
    assert!(matches!(at(11).warnings[..], [Warning::ExpiresSoon(_, left)] if left == 29 * DAY_MS));
    let over = at(40);
    assert_eq!(over.licences[0].1, Standing::Expired);
    assert!(matches!(over.warnings[..], [Warning::Expired(_)]));
    assert_eq!(
        (over.licensed, over.entitlement.seats),
        (false, Count::Of(10))
    );
    // The secondary does not fall silent, and nobody loses the second session.
    assert_eq!(
        (over.mode, over.entitlement.standby),
        (Redundancy::Full, false)
    );
    assert_eq!(over.entitlement.instant_failover, Count::Of(30));
}

#[test]
fn a_licence_that_has_ended_by_the_clock_alone_is_told_apart_from_one_that_has_ended() {
    let mut ending = licence("none", &[1], &[("terminal-connection", 50)]);
    ending.valid_until_ms = Some(NOW_MS + DAY_MS);
    let ending = [ending];
    let wild = judged_at(&ending, None, NOW_MS + 30 * DAY_MS, NOW_MS);
    assert!(matches!(
        wild.warnings[..],
        [Warning::Expired(_), Warning::ClockAhead(by)] if by == 30 * DAY_MS
    ));
    assert_eq!(wild.entitlement.seats, Count::Of(10));
    let over = judged_at(&ending, None, NOW_MS + 30 * DAY_MS, NOW_MS + 2 * DAY_MS);
    assert!(matches!(over.warnings[..], [Warning::Expired(_)]));
}

#[test]
fn turning_the_clock_back_brings_no_licence_back() {
    let mut ending = licence("none", &[1], &[("terminal-connection", 50)]);
    ending.valid_until_ms = Some(NOW_MS + DAY_MS);
    let ending = [ending];
    let honest = judged_at(&ending, None, NOW_MS, NOW_MS - 1);
    assert_eq!(
        (honest.entitlement.seats, &honest.warnings.len()),
        (Count::Of(50), &1)
    );
    let back = judged_at(&ending, None, NOW_MS, NOW_MS + 3 * DAY_MS);
    assert_eq!(back.entitlement.seats, Count::Of(10));
    assert!(back.warnings.contains(&Warning::ClockSetBack(3 * DAY_MS)));
    // One without an end holds whatever the clock says.
    let lasting = [licence("none", &[1], &[("terminal-connection", 50)])];
    let back = judged_at(&lasting, None, NOW_MS, NOW_MS + 3 * DAY_MS);
    assert_eq!(
        (back.entitlement.seats, back.warnings.len()),
        (Count::Of(50), 1)
    );
}

#[test]
fn a_lost_file_silences_no_server_and_is_warned_of() {
    let lost = [Summary::of(&licence(
        "full",
        &[1, 2],
        &[("instant-failover", 30)],
    ))];
    let (_, pair) = pairs().remove(6);
    let found = status(&Situation {
        this: id(1),
        installed: &[],
        lost: &lost,
        pair: pair.as_ref(),
        now_ms: NOW_MS,
        latest_ms: 0,
    });
    assert_eq!(
        (found.mode, found.entitlement.standby),
        (Redundancy::Full, false)
    );
    assert_eq!(found.entitlement.seats, Count::Of(10));
    assert_eq!(found.entitlement.instant_failover, Count::Of(30));
    assert!(matches!(&found.warnings[..], [Warning::Lost(id)] if *id == lost[0].id));
}

#[test]
fn a_licence_whose_time_has_not_come_allows_nothing() {
    let mut later = licence("enterprise", &[1, 2], &[("instant-failover", 30)]);
    later.valid_from_ms = NOW_MS + 1;
    let (_, pair) = pairs().remove(5);
    let found = judged(&[later], pair.as_ref());
    assert_eq!(found.licences[0].1, Standing::NotYetValid);
    assert_eq!(
        (found.mode, found.entitlement.seats),
        (Redundancy::None, Count::Of(10))
    );
}
