//! Which backups are not kept any longer: a pure function.

use crate::backup::Reason;
use crate::kind::Keep;
use crate::limits::AUTOMATIC_BACKUPS_KEPT;
use crate::object::Id;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Of backups that were `made` for one reason, with their times, those that go. The newest always stays, whatever the
/// clock says.
pub(super) fn superfluous(
    mut made: Vec<(u64, Id)>,
    reason: Reason,
    keep: Keep,
    now_ms: u64,
) -> Vec<Id> {
    let count = match reason {
        Reason::Manual => return Vec::new(),
        Reason::Schedule => keep.count.map(usize::from),
        Reason::BeforeRestore | Reason::BeforeSynchronization => Some(AUTOMATIC_BACKUPS_KEPT),
    };
    let oldest_ms = keep
        .days
        .map(|days| now_ms.saturating_sub(u64::from(days) * DAY_MS));
    made.sort_unstable_by(|one, other| other.cmp(one));
    let later = made.into_iter().enumerate().skip(1);
    later
        .filter(|(index, (created_ms, _))| {
            count.is_some_and(|count| *index >= count)
                || oldest_ms.is_some_and(|oldest| *created_ms < oldest)
        })
        .map(|(_, (_, id))| id)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(days: &[u64]) -> Vec<(u64, Id)> {
        let id = |day: &u64| Id::parse(&format!("day-{day}")).expect("an identifier");
        days.iter().map(|day| (day * DAY_MS, id(day))).collect()
    }

    fn gone(days: &[u64], count: Option<u16>, kept_days: Option<u16>, today: u64) -> Vec<String> {
        let keep = Keep {
            count,
            days: kept_days,
        };
        let gone = superfluous(made(days), Reason::Schedule, keep, today * DAY_MS);
        gone.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn backups_go_by_count_and_by_age_and_the_newest_stays() {
        assert_eq!(gone(&[1, 2, 3, 4], Some(2), None, 4), ["day-2", "day-1"]);
        assert_eq!(gone(&[1, 2, 3, 4], None, Some(2), 4), ["day-1"]);
        assert_eq!(gone(&[1, 2, 3, 4], Some(3), Some(1), 4), ["day-2", "day-1"]);
        assert!(gone(&[1, 2, 3, 4], None, None, 400).is_empty());
        assert_eq!(gone(&[1, 2], None, Some(1), 400), ["day-1"]);
        assert!(gone(&[1], Some(1), Some(1), 400).is_empty());
        // A clock that was set back: what comes from the future stays.
        assert!(gone(&[8, 9], None, Some(1), 4).is_empty());
    }

    #[test]
    fn what_was_asked_for_by_hand_stays_and_automatic_ones_are_bounded() {
        let all: Vec<u64> = (1..=30).collect();
        assert!(superfluous(made(&all), Reason::Manual, Keep::default(), u64::MAX).is_empty());
        let gone = superfluous(made(&all), Reason::BeforeRestore, Keep::default(), 0);
        assert_eq!(gone.len(), 30 - AUTOMATIC_BACKUPS_KEPT);
    }
}
