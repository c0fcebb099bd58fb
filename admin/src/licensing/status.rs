//! What the installed licences allow this server now: a function of the licences, both Installation IDs, the pair and the time.
//!
//! Two things are kept apart. What may be *granted anew* depends on licences that hold now. What *goes on* (which servers boot,
//! what terminals use already) does not end with an expiry, a lost file, a wrong clock or a dead partner: those are warnings.

use core::fmt;

use daybreak_sync::policy::Role;

use super::told::{Agreement, Summary, ToldLicences, agreement};
use super::{InstallationId, Licence, Product, Redundancy};
use crate::limits::{
    LICENCE_CLOCK_TOLERANCE_MS, LICENCE_EXPIRY_WARNED_MS, UNLICENSED_COUNT, UNLICENSED_TERMINALS,
};
use crate::object::Id;

/// What is known of the pair that this server belongs to: filled by the link to the partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairView {
    /// Which of the two this one is.
    pub role: Role,
    /// Whether changes are synchronized by themselves.
    pub automatic: bool,
    /// The most that the site wants, whatever more the licences allow.
    pub ceiling: Redundancy,
    /// The partner's Installation ID, as soon as it told it; kept while it is away.
    pub partner: Option<InstallationId>,
    /// What the partner told of its licences last; kept while it is away.
    pub partner_licences: Option<ToldLicences>,
}

/// Everything that the status depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// This installation.
    pub this: InstallationId,
    /// The licences whose files are here and were verified.
    pub installed: &'a [Licence],
    /// Licences that were installed and never removed, and whose files are gone.
    pub lost: &'a [Summary],
    /// The pair, if this server belongs to one.
    pub pair: Option<&'a PairView>,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// The time that it is at least, by what was witnessed: a clock that runs behind it was set back.
    pub latest_ms: u64,
}

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// So many.
    Of(u64),
    /// Any number.
    Unlimited,
}

impl Count {
    /// Whether `used` is less.
    #[must_use]
    pub fn has_room(self, used: u64) -> bool {
        self > Count::Of(used)
    }

    /// How much `used` is beyond it.
    #[must_use]
    pub fn excess(self, used: u64) -> u64 {
        match self {
            Count::Of(count) => used.saturating_sub(count),
            Count::Unlimited => 0,
        }
    }

    /// The number, if there is one.
    #[must_use]
    pub fn number(self) -> Option<u64> {
        match self {
            Count::Of(count) => Some(count),
            Count::Unlimited => None,
        }
    }
}

/// Why no seat is granted, whatever the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantsNone {
    /// The primary grants for both.
    Mirror,
    /// This server boots nobody.
    Standby,
}

/// What the rest of the administration needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entitlement {
    /// How two servers share the work.
    pub redundancy: Redundancy,
    /// Seats that may be granted in all.
    pub seats: Count,
    /// Why none is granted here, if none is.
    pub grants_none: Option<GrantsNone>,
    /// Whether this server boots nobody: it is the second one without a licence for two.
    pub standby: bool,
    /// Whether a pair is kept the same by itself: terminals report to both servers.
    pub automatic: bool,
    /// Terminals with two live sessions.
    pub instant_failover: Count,
    /// Terminals that are a client on a Windows PC.
    pub windows_client: Count,
    /// Terminals that share a keyboard and a mouse.
    pub shared_keyboard_mouse: Count,
}

impl Default for Entitlement {
    /// Without a licence: enough to try everything, on one server, for as long as one likes.
    fn default() -> Self {
        let few = Count::Of(UNLICENSED_COUNT);
        Entitlement {
            redundancy: Redundancy::None,
            seats: Count::Of(UNLICENSED_TERMINALS),
            grants_none: None,
            standby: false,
            automatic: false,
            instant_failover: few,
            windows_client: few,
            shared_keyboard_mouse: few,
        }
    }
}

impl Entitlement {
    /// Whether a seat may be granted beside `held` ones.
    #[must_use]
    pub fn grants(&self, held: u64) -> bool {
        self.grants_none.is_none() && self.seats.has_room(held)
    }
}

/// How a licence stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds.
    Active,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over.
    Expired,
    /// It is for two servers, and this one has no partner.
    NotPaired,
    /// It is for two servers, and changes are not synchronized by themselves.
    NoAutomaticSynchronization,
    /// It is for two servers, and the other one did not tell its Installation ID yet.
    PartnerUnknown,
    /// It is for two servers, and the partner is not the other one of them.
    OtherPartner(InstallationId),
    /// Another licence allows more, and is in force.
    Outranked(Redundancy),
}

impl Standing {
    /// Its word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Standing::Active => "active",
            Standing::NotYetValid => "not-yet-valid",
            Standing::Expired => "expired",
            Standing::NotPaired => "not-paired",
            Standing::NoAutomaticSynchronization => "no-automatic-synchronization",
            Standing::PartnerUnknown => "partner-unknown",
            Standing::OtherPartner(_) => "other-partner",
            Standing::Outranked(_) => "outranked",
        }
    }

    /// Whether what it allowed before goes on.
    fn goes_on(&self) -> bool {
        matches!(
            self,
            Standing::Active
                | Standing::Expired
                | Standing::PartnerUnknown
                | Standing::OtherPartner(_)
        )
    }
}

impl fmt::Display for Standing {
    /// For people: why, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Active => f.write_str("in force"),
            Standing::NotYetValid => f.write_str("its time has not come yet"),
            Standing::Expired => {
                f.write_str("it has expired: no new seats; install a new activation")
            }
            Standing::NotPaired => {
                f.write_str("it is for two servers: pair this one with the other")
            }
            Standing::NoAutomaticSynchronization => {
                f.write_str("it needs automatic synchronization: switch that on")
            }
            Standing::PartnerUnknown => f.write_str(
                "it is for two servers, and the partner has not told its Installation ID yet",
            ),
            Standing::OtherPartner(partner) => write!(
                f,
                "it is for another partner than {partner}: activate it again with both Installation IDs"
            ),
            Standing::Outranked(other) => {
                write!(
                    f,
                    "another licence is in force, which allows {}",
                    other.word()
                )
            }
        }
    }
}

/// Something to look at that refuses nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A licence ends soon: which, and when.
    ExpiresSoon(Id, u64),
    /// A licence has ended: no seats from it any more.
    Expired(Id),
    /// The file of a licence is gone.
    Lost(Id),
    /// The clock is behind what it was; by so many milliseconds.
    ClockSetBack(u64),
    /// By the clock a licence has ended, and by nothing else: it is ahead of everything by so many milliseconds.
    ClockAhead(u64),
    /// The licence is for another partner.
    PartnerChanged(Id),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        match self {
            Warning::ExpiresSoon(id, left_ms) => {
                let days = left_ms / DAY_MS;
                write!(
                    f,
                    "licence {id} expires in {days} days: ask for a new activation"
                )
            }
            Warning::Expired(id) => write!(
                f,
                "licence {id} has expired: terminals that hold a seat boot on, and no new one gets one"
            ),
            Warning::Lost(id) => write!(
                f,
                "the file of licence {id} is gone: install it again, or remove the licence"
            ),
            Warning::ClockSetBack(by_ms) => write!(
                f,
                "the clock is {} days behind what it was: licences with an end are judged by the later time; set it right",
                by_ms / DAY_MS
            ),
            Warning::ClockAhead(by_ms) => write!(
                f,
                "the clock is {} days ahead of what it was when this server ran last, and by it a licence has expired; if that is wrong, set it right within a day",
                by_ms / DAY_MS
            ),
            Warning::PartnerChanged(id) => write!(
                f,
                "licence {id} is for another partner: activate it again with both Installation IDs"
            ),
        }
    }
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What is in force.
    pub mode: Redundancy,
    /// What that allows.
    pub entitlement: Entitlement,
    /// Whether a licence holds now.
    pub licensed: bool,
    /// Each installed licence.
    pub licences: Vec<(Id, Standing)>,
    /// When the first of those that hold ends.
    pub expires_ms: Option<u64>,
    /// Whether both servers have the same.
    pub agreement: Agreement,
    /// What the partner is told.
    pub told: ToldLicences,
    /// What to look at.
    pub warnings: Vec<Warning>,
}

/// What the licences allow.
#[must_use]
pub fn status(situation: &Situation<'_>) -> Status {
    let now_ms = situation.now_ms.max(situation.latest_ms);
    let mut standings: Vec<Standing> = situation
        .installed
        .iter()
        .map(|licence| standing(licence, situation, now_ms))
        .collect();
    let in_force = best(situation, &standings, |standing| {
        *standing == Standing::Active
    });
    for (licence, standing) in situation.installed.iter().zip(&mut standings) {
        if let (Standing::Active, Some(best)) = (&standing, in_force)
            && licence.redundancy < best
        {
            *standing = Standing::Outranked(best);
        }
    }
    let going_on = best(situation, &standings, Standing::goes_on);
    let lost = situation.lost.iter().map(|lost| lost.redundancy).max();
    let allowed = going_on.max(lost).unwrap_or_default();
    // A setting lowers what is allowed, and never raises it.
    let mode = match situation.pair {
        Some(pair) => allowed.min(pair.ceiling),
        None => allowed,
    };
    let told = ToldLicences::of(situation, now_ms, in_force.is_some());
    let theirs = situation
        .pair
        .and_then(|pair| pair.partner_licences.as_ref());
    let secondary = situation
        .pair
        .is_some_and(|pair| pair.role == Role::Secondary);
    let standby = secondary && mode == Redundancy::None;
    let entitlement = Entitlement {
        redundancy: mode,
        seats: seats(situation, &standings, in_force),
        grants_none: match mode {
            _ if standby => Some(GrantsNone::Standby),
            Redundancy::Mirrored if secondary => Some(GrantsNone::Mirror),
            _ => None,
        },
        standby,
        automatic: situation.pair.is_some_and(|pair| pair.automatic),
        instant_failover: used(&told, theirs, Product::InstantFailover),
        windows_client: used(&told, theirs, Product::WindowsClient),
        shared_keyboard_mouse: used(&told, theirs, Product::SharedKeyboardMouse),
    };
    let active = situation.installed.iter().zip(&standings);
    let active = active.filter(|(_, standing)| **standing == Standing::Active);
    let ids = situation.installed.iter().map(|licence| licence.id.clone());
    Status {
        mode,
        entitlement,
        licensed: in_force.is_some(),
        expires_ms: active
            .filter_map(|(licence, _)| licence.valid_until_ms)
            .min(),
        agreement: agreement(&told, situation.pair),
        warnings: warnings(situation, &standings, now_ms),
        licences: ids.zip(standings).collect(),
        told,
    }
}

fn standing(licence: &Licence, situation: &Situation<'_>, now_ms: u64) -> Standing {
    if now_ms < licence.valid_from_ms {
        return Standing::NotYetValid;
    }
    let others = licence.installations.iter();
    let other = others.copied().find(|id| *id != situation.this);
    if let Some(other) = other {
        let Some(pair) = situation.pair else {
            return Standing::NotPaired;
        };
        if !pair.automatic {
            return Standing::NoAutomaticSynchronization;
        }
        match pair.partner {
            None => return Standing::PartnerUnknown,
            Some(partner) if partner != other => return Standing::OtherPartner(partner),
            Some(_) => {}
        }
    }
    match licence.valid_until_ms {
        Some(until_ms) if until_ms <= now_ms => Standing::Expired,
        _ => Standing::Active,
    }
}

/// The most that one of the licences allows whose standing is like this.
fn best(
    situation: &Situation<'_>,
    standings: &[Standing],
    like: impl Fn(&Standing) -> bool,
) -> Option<Redundancy> {
    let licences = situation.installed.iter().zip(standings);
    licences
        .filter(|(_, standing)| like(standing))
        .map(|(licence, _)| licence.redundancy)
        .max()
}

/// Seats that may be granted: of the licences that hold now.
fn seats(situation: &Situation<'_>, standings: &[Standing], in_force: Option<Redundancy>) -> Count {
    let active = situation.installed.iter().zip(standings);
    let active = active.filter(|(_, standing)| **standing == Standing::Active);
    let of = |product| -> u64 {
        active
            .clone()
            .map(|(licence, _)| licence.count(product))
            .sum()
    };
    let connections = match in_force {
        None => 0,
        Some(Redundancy::Enterprise) => return Count::Unlimited,
        Some(Redundancy::None) => of(Product::TerminalConnection),
        Some(Redundancy::Mirrored) => of(Product::MirroredTerminalConnection),
        Some(Redundancy::Full) => {
            // On each server its own: the smaller number counts.
            let own = of(Product::TerminalConnection);
            let told = situation
                .pair
                .and_then(|pair| pair.partner_licences.as_ref());
            let both = told.map_or(own, |told| {
                own.min(told.valid_of_one(Product::TerminalConnection))
            });
            of(Product::RedundantTerminalConnection).saturating_add(both)
        }
    };
    match connections {
        // No licence, or of other products alone, or nothing that both servers have.
        0 => Count::Of(UNLICENSED_TERMINALS),
        count => Count::Of(count),
    }
}

/// How many may use a product that is no connection: of all licences whose time has come, since what a terminal uses ends neither
/// with a licence nor with the pair. Where each server has licences of its own, the smaller number counts; a partner that has none
/// takes nothing away: it may be new, and get its own later.
fn used(ours: &ToldLicences, theirs: Option<&ToldLicences>, product: Product) -> Count {
    if ours.is_empty() {
        return Count::Of(UNLICENSED_COUNT);
    }
    let own = ours.used_of_one(product).unwrap_or(0);
    let shared = ours.used(product) - own;
    let both = theirs.and_then(|theirs| theirs.used_of_one(product));
    Count::Of(shared.saturating_add(both.map_or(own, |theirs| own.min(theirs))))
}

fn warnings(situation: &Situation<'_>, standings: &[Standing], now_ms: u64) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (licence, standing) in situation.installed.iter().zip(standings) {
        let left_ms = licence
            .valid_until_ms
            .map(|until| until.saturating_sub(now_ms));
        match (standing, left_ms) {
            (Standing::Expired, _) => warnings.push(Warning::Expired(licence.id.clone())),
            (Standing::OtherPartner(_), _) => {
                warnings.push(Warning::PartnerChanged(licence.id.clone()));
            }
            (Standing::Active, Some(left_ms)) if left_ms < LICENCE_EXPIRY_WARNED_MS => {
                warnings.push(Warning::ExpiresSoon(licence.id.clone(), left_ms));
            }
            _ => {}
        }
    }
    warnings.extend(
        situation
            .lost
            .iter()
            .map(|lost| Warning::Lost(lost.id.clone())),
    );
    let behind_ms = situation.latest_ms.saturating_sub(situation.now_ms);
    if behind_ms > LICENCE_CLOCK_TOLERANCE_MS {
        warnings.push(Warning::ClockSetBack(behind_ms));
    }
    let ahead_ms = situation.now_ms.saturating_sub(situation.latest_ms);
    let by_the_clock_alone =
        situation
            .installed
            .iter()
            .zip(standings)
            .any(|(licence, standing)| {
                let until_ms = licence.valid_until_ms;
                *standing == Standing::Expired
                    && until_ms.is_some_and(|until| until > situation.latest_ms)
            });
    if ahead_ms > LICENCE_CLOCK_TOLERANCE_MS && by_the_clock_alone {
        warnings.push(Warning::ClockAhead(ahead_ms));
    }
    warnings
}
