//! The rules of the contract, written down once more and asked of every kind of licence with every product that goes with it, at every
//! time, in every state of a pair, with every wish of the site.

use daybreak_admin::licensing::{
    Count, GrantsNone, Licence, PairView, Product, Redundancy, Situation, Summary, status,
};
use daybreak_sync::policy::Role;

use crate::support::vendor::{DAY_MS, NOW_MS, id, licence};

const COUNT: u32 = 7;
const UNLICENSED: Count = Count::Of(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    NotYet,
    Valid,
    Expired,
    /// Its file is gone.
    Lost,
}

const TIMES: [Time; 4] = [Time::NotYet, Time::Valid, Time::Expired, Time::Lost];

/// What a server may be to another one.
fn pairs() -> Vec<Option<PairView>> {
    let mut pairs = vec![None];
    for role in [Role::Primary, Role::Secondary] {
        for automatic in [false, true] {
            for partner in [None, Some(2), Some(3)] {
                pairs.extend(Redundancy::ALL.map(|ceiling| {
                    Some(PairView {
                        role,
                        automatic,
                        ceiling,
                        partner: partner.map(id),
                        partner_licences: None,
                    })
                }));
            }
        }
    }
    pairs
}

/// Every licence that may be sold: what it allows, for how many servers, and one product in it.
fn licences() -> Vec<(Licence, Product)> {
    let mut licences = Vec::new();
    for redundancy in Redundancy::ALL {
        for servers in redundancy.servers() {
            for product in Product::ALL {
                let installations: &[u8] = if servers == 1 { &[1] } else { &[1, 2] };
                let licence = licence(redundancy.word(), installations, &[(product.word(), COUNT)]);
                if licence.check().is_ok() {
                    licences.push((licence, product));
                }
            }
        }
    }
    licences
}

fn at(licence: &Licence, time: Time) -> Licence {
    let mut licence = licence.clone();
    match time {
        Time::NotYet => licence.valid_from_ms = NOW_MS + DAY_MS,
        Time::Expired => licence.valid_until_ms = Some(NOW_MS - DAY_MS),
        Time::Valid | Time::Lost => {}
    }
    licence
}

#[test]
fn every_mode_and_product_at_every_time_in_every_state_of_a_pair() {
    // none 4; mirrored 4; full for one server 4, for two 5; enterprise 3.
    assert_eq!(licences().len(), 4 + 4 + 4 + 5 + 3);
    assert_eq!(pairs().len(), 1 + 2 * 2 * 3 * 4);
    let mut cases = 0;
    for (licence, product) in licences() {
        for time in TIMES {
            for pair in pairs() {
                check(&at(&licence, time), product, time, pair.as_ref());
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 20 * 4 * 49);
}

fn check(licence: &Licence, product: Product, time: Time, pair: Option<&PairView>) {
    let lost = [Summary::of(licence)];
    let is_lost = time == Time::Lost;
    let found = status(&Situation {
        this: id(1),
        installed: if is_lost {
            &[]
        } else {
            std::slice::from_ref(licence)
        },
        lost: if is_lost { &lost } else { &[] },
        pair,
        now_ms: NOW_MS,
        latest_ms: NOW_MS,
    });
    let what = format!("{licence:?} {time:?} {pair:?}");

    // One for two servers needs the other one, and automatic synchronization.
    let for_two = licence.installations.len() == 2;
    let together = !for_two || pair.is_some_and(|pair| pair.automatic);
    let right = !for_two || pair.is_some_and(|pair| pair.partner == Some(id(2)));
    let active = time == Time::Valid && together && right;
    assert_eq!(found.licensed, active, "{what}");

    // Who boots does not end with a licence; where both speak to each other, nor with who the other one is.
    let goes_on = match time {
        Time::NotYet => false,
        Time::Valid | Time::Expired => together,
        Time::Lost => true,
    };
    let allowed = if goes_on {
        licence.redundancy
    } else {
        Redundancy::None
    };
    let mode = pair.map_or(allowed, |pair| allowed.min(pair.ceiling));
    let secondary = pair.is_some_and(|pair| pair.role == Role::Secondary);
    let standby = secondary && mode == Redundancy::None;
    assert_eq!(
        (found.mode, found.entitlement.standby),
        (mode, standby),
        "{what}"
    );

    // New seats are given by what is active alone, never by a mirror or by one that stands by.
    let connections = matches!(
        product,
        Product::TerminalConnection
            | Product::RedundantTerminalConnection
            | Product::MirroredTerminalConnection
    );
    let seats = match (active, licence.redundancy) {
        (true, Redundancy::Enterprise) => Count::Unlimited,
        (true, _) if connections => Count::Of(COUNT.into()),
        _ => UNLICENSED,
    };
    assert_eq!(found.entitlement.seats, seats, "{what}");
    let grants_none = match mode {
        _ if standby => Some(GrantsNone::Standby),
        Redundancy::Mirrored if secondary => Some(GrantsNone::Mirror),
        _ => None,
    };
    assert_eq!(found.entitlement.grants_none, grants_none, "{what}");

    // What terminals use ends neither with a licence nor with the pair.
    for (counted, entitled) in [
        (Product::InstantFailover, found.entitlement.instant_failover),
        (Product::WindowsClient, found.entitlement.windows_client),
        (
            Product::SharedKeyboardMouse,
            found.entitlement.shared_keyboard_mouse,
        ),
    ] {
        let count = if counted == product { COUNT.into() } else { 0 };
        let expected = match time {
            Time::NotYet => UNLICENSED,
            _ => Count::Of(count),
        };
        assert_eq!(entitled, expected, "{} {what}", counted.word());
    }

    // What refuses nobody is warned of.
    let ended = time == Time::Expired && together && right;
    let other =
        goes_on && !is_lost && for_two && pair.is_some_and(|pair| pair.partner == Some(id(3)));
    assert_eq!(
        found.warnings.is_empty(),
        !(ended || other || is_lost),
        "{what}"
    );
}
