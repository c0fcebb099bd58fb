//! What is due when: pure functions of a rule, a time zone, what was done, and the time.
//!
//! A rule names civil times, one a day at most. Each stands for exactly one moment: a time that does not exist, because
//! clocks are put forward, is as much later as they are put forward; of a time that exists twice, the first one counts.
//! So nothing is left out and nothing runs twice on such a day.
//!
//! Of moments that were missed only the last is due: a server that was off for a week makes one backup, not seven.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::kind::When;
use crate::limits::CLOCK_SET_BACK_MAX;

/// What is known of a schedule, beside its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The moment that was last due and done, in milliseconds since 1970; none yet.
    pub done_ms: Option<u64>,
    /// When the schedule was made or last changed: what would have been due before is none of it.
    pub changed_ms: u64,
}

/// The moment that is due at `now_ms`, if one is.
#[must_use]
pub fn due(when: &When, zone: &TimeZone, known: Known, now_ms: u64) -> Option<u64> {
    // What lies far ahead was noted by a clock that was wrong; to wait for it might mean for years.
    let ahead_ms = u64::try_from(CLOCK_SET_BACK_MAX.as_millis()).unwrap_or(u64::MAX);
    let credible = |time_ms: &u64| *time_ms <= now_ms.saturating_add(ahead_ms);
    let done_ms = known.done_ms.filter(credible);
    let since_ms = done_ms
        .into_iter()
        .chain(Some(known.changed_ms).filter(credible))
        .max();
    moments(when, zone, now_ms)
        .filter(|moment| *moment <= now_ms && since_ms.is_none_or(|since| *moment > since))
        .max()
}

/// The next moment after `now_ms`.
#[must_use]
pub fn next(when: &When, zone: &TimeZone, now_ms: u64) -> Option<u64> {
    moments(when, zone, now_ms)
        .filter(|moment| *moment > now_ms)
        .min()
}

/// Every moment of the rule near `now_ms`: at least the last one before and the first one after.
fn moments(when: &When, zone: &TimeZone, now_ms: u64) -> impl Iterator<Item = u64> {
    let today = civil(zone, now_ms).date();
    let day = |days: i32| today.checked_add(jiff::Span::new().days(days)).ok();
    // Two days each way: a civil day may be a day away from where its moment is.
    let days: Vec<DateTime> = match when {
        When::Once { date, time } => vec![date.date().to_datetime(time.time())],
        When::Day { time } => (-2..=2)
            .filter_map(day)
            .map(|date| date.to_datetime(time.time()))
            .collect(),
        When::Week { on, time } => (-9..=9)
            .filter_map(day)
            .filter(|date| on.iter().any(|weekday| weekday.civil() == date.weekday()))
            .map(|date| date.to_datetime(time.time()))
            .collect(),
        When::Month { day, time } => (-2..=2)
            .filter_map(|months| {
                today
                    .first_of_month()
                    .checked_add(jiff::Span::new().months(months))
                    .ok()
            })
            .map(|month| clamped(month, *day).to_datetime(time.time()))
            .collect(),
        When::Year { month, day, time } => (-2..=2)
            .filter_map(|years| {
                let year = today.year().checked_add(years)?;
                Date::new(year, i8::try_from(*month).ok()?, 1).ok()
            })
            .map(|month| clamped(month, *day).to_datetime(time.time()))
            .collect(),
    };
    let zone = zone.clone();
    days.into_iter().filter_map(move |civil| {
        let moment = zone.to_ambiguous_timestamp(civil).compatible().ok()?;
        u64::try_from(moment.as_millisecond()).ok()
    })
}

/// The day `day` of the month of `first`, or the last that it has.
fn clamped(first: Date, day: u8) -> Date {
    let day = i8::try_from(day)
        .unwrap_or(i8::MAX)
        .clamp(1, first.days_in_month());
    Date::new(first.year(), first.month(), day).unwrap_or(first)
}

fn civil(zone: &TimeZone, now_ms: u64) -> DateTime {
    let now = i64::try_from(now_ms)
        .ok()
        .and_then(|now_ms| Timestamp::from_millisecond(now_ms).ok());
    zone.to_datetime(now.unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const MINUTE_MS: u64 = 60_000;
    const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

    fn zone(posix: &str) -> TimeZone {
        TimeZone::posix(posix).expect("a zone")
    }

    fn berlin() -> TimeZone {
        zone("CET-1CEST,M3.5.0,M10.5.0/3")
    }

    fn when(json: &Value) -> When {
        serde_json::from_value(json.clone()).expect("a rule")
    }

    fn ms(utc: &str) -> u64 {
        utc.parse::<Timestamp>()
            .expect("a time")
            .as_millisecond()
            .cast_unsigned()
    }

    /// Every moment at which something runs when it is looked every `step_ms`, from `from` to `to`.
    fn runs(when: &When, zone: &TimeZone, from: u64, to: u64, step_ms: u64) -> Vec<u64> {
        let mut known = Known {
            done_ms: None,
            changed_ms: from,
        };
        let mut runs = Vec::new();
        let mut now = from;
        while now <= to {
            if let Some(moment) = due(when, zone, known, now) {
                runs.push(moment);
                known.done_ms = Some(moment);
            }
            now += step_ms;
        }
        runs
    }

    #[test]
    fn half_past_two_runs_once_on_the_day_that_has_none_and_on_the_day_that_has_two() {
        let daily = when(&json!({"every": "day", "time": "02:30"}));
        let spring = runs(
            &daily,
            &berlin(),
            ms("2026-03-27T12:00Z"),
            ms("2026-03-30T12:00Z"),
            MINUTE_MS,
        );
        // 28th at 02:30 CET; 29th: clocks go from 02:00 to 03:00, so at 03:30 CEST; 30th at 02:30 CEST.
        let expected = [
            "2026-03-28T01:30Z",
            "2026-03-29T01:30Z",
            "2026-03-30T00:30Z",
        ];
        assert_eq!(spring, expected.map(ms));
        let autumn = runs(
            &daily,
            &berlin(),
            ms("2026-10-24T12:00Z"),
            ms("2026-10-26T12:00Z"),
            MINUTE_MS,
        );
        // 25th: clocks go from 03:00 back to 02:00; the first 02:30 is CEST.
        assert_eq!(autumn, ["2026-10-25T00:30Z", "2026-10-26T01:30Z"].map(ms));
    }

    #[test]
    fn each_rule_runs_when_it_says() {
        let utc = TimeZone::UTC;
        for (rule, expected) in [
            (
                json!({"every": "once", "date": "2027-03-01", "time": "06:00"}),
                vec!["2027-03-01T06:00Z"],
            ),
            (
                json!({"every": "week", "on": ["monday", "friday"], "time": "00:00"}),
                vec![
                    "2027-02-26T00:00Z",
                    "2027-03-01T00:00Z",
                    "2027-03-05T00:00Z",
                ],
            ),
            (
                json!({"every": "month", "day": 31, "time": "23:59"}),
                vec!["2027-02-28T23:59Z"],
            ),
            (
                json!({"every": "year", "month": 2, "day": 29, "time": "12:00"}),
                vec!["2027-02-28T12:00Z"],
            ),
        ] {
            let found = runs(
                &when(&rule),
                &utc,
                ms("2027-02-25T00:00Z"),
                ms("2027-03-07T00:00Z"),
                MINUTE_MS,
            );
            let expected: Vec<u64> = expected.into_iter().map(ms).collect();
            assert_eq!(found, expected, "{rule}");
        }
        let leap = when(&json!({"every": "year", "month": 2, "day": 29, "time": "12:00"}));
        assert_eq!(
            next(&leap, &utc, ms("2027-03-01T00:00Z")),
            Some(ms("2028-02-29T12:00Z"))
        );
        let once = when(&json!({"every": "once", "date": "2027-03-01", "time": "06:00"}));
        assert_eq!(next(&once, &utc, ms("2027-03-01T06:00Z")), None);
    }

    #[test]
    fn what_would_have_been_before_the_schedule_was_made_or_changed_is_not_due() {
        let daily = when(&json!({"every": "day", "time": "09:00"}));
        let changed_ms = ms("2027-01-10T10:00Z");
        let known = Known {
            done_ms: Some(ms("2027-01-10T02:00Z")),
            changed_ms,
        };
        assert_eq!(
            due(&daily, &TimeZone::UTC, known, changed_ms + MINUTE_MS),
            None
        );
        assert_eq!(
            due(&daily, &TimeZone::UTC, known, changed_ms + DAY_MS),
            Some(ms("2027-01-11T09:00Z"))
        );
    }

    #[test]
    fn a_clock_that_was_years_ahead_does_not_stop_backups_for_years() {
        let daily = when(&json!({"every": "day", "time": "09:00"}));
        let wrong = ms("2036-01-01T09:00Z");
        let known = Known {
            done_ms: Some(wrong),
            changed_ms: wrong,
        };
        let now = ms("2027-01-10T10:00Z");
        assert_eq!(
            due(&daily, &TimeZone::UTC, known, now),
            Some(ms("2027-01-10T09:00Z"))
        );
        // A clock that is set back a little makes nothing run twice.
        let known = Known {
            done_ms: Some(ms("2027-01-10T09:00Z")),
            changed_ms: 0,
        };
        assert_eq!(
            due(&daily, &TimeZone::UTC, known, ms("2027-01-10T08:59Z")),
            None
        );
        assert_eq!(
            due(&daily, &TimeZone::UTC, known, ms("2027-01-10T09:01Z")),
            None
        );
    }

    fn zones() -> impl Strategy<Value = TimeZone> {
        // Europe, North America, Lord Howe Island (half an hour), the far east and west of the date line.
        prop::sample::select(vec![
            "CET-1CEST,M3.5.0,M10.5.0/3",
            "EST5EDT,M3.2.0,M11.1.0",
            "LHST-10:30LHDT-11,M10.1.0,M4.1.0",
            "UTC0",
            "LINT-14",
            "IDLW12",
        ])
        .prop_map(zone)
    }

    fn rules() -> impl Strategy<Value = When> {
        let time = (0_u8..24, 0_u8..60).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}"));
        let weekdays = [
            "monday",
            "tuesday",
            "wednesday",
            "thursday",
            "friday",
            "saturday",
            "sunday",
        ];
        prop_oneof![
            time.clone().prop_map(|time| json!({"every": "day", "time": time})),
            (time.clone(), prop::sample::subsequence(weekdays.to_vec(), 1..=7))
                .prop_map(|(time, on)| json!({"every": "week", "on": on, "time": time})),
            (time.clone(), 1_u8..=31).prop_map(|(time, day)| json!({"every": "month", "day": day, "time": time})),
            (time, 1_u8..=31, 1_u8..=12).prop_map(
                |(time, day, month)| json!({"every": "year", "month": month, "day": day, "time": time})
            ),
        ]
        .prop_map(|json| when(&json))
    }

    /// Whether a civil day is one of the rule's.
    fn is_day(when: &When, date: Date) -> bool {
        let last = |day: u8| i8::try_from(day).expect("small").min(date.days_in_month());
        match when {
            When::Once { date: only, .. } => only.date() == date,
            When::Day { .. } => true,
            When::Week { on, .. } => on.iter().any(|weekday| weekday.civil() == date.weekday()),
            When::Month { day, .. } => date.day() == last(*day),
            When::Year { month, day, .. } => {
                date.month() == i8::try_from(*month).expect("small") && date.day() == last(*day)
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Against a model that walks through the days: looked at often enough, each day of the rule runs once, on that
        /// day, and nothing else does.
        #[test]
        fn looked_at_often_every_day_of_a_rule_runs_exactly_once(
            when in rules(), zone in zones(), start in 0_u64..200, days in 20_u64..400,
        ) {
            let from = ms("2026-01-01T00:00Z") + start * DAY_MS;
            let to = from + days * DAY_MS;
            let found = runs(&when, &zone, from, to, 60 * MINUTE_MS);
            let dates: Vec<Date> = found.iter().map(|moment| civil(&zone, *moment).date()).collect();
            let mut expected = Vec::new();
            let mut date = civil(&zone, from).date();
            while date <= civil(&zone, to).date() {
                if is_day(&when, date) {
                    expected.push(date);
                }
                date = date.tomorrow().expect("a day");
            }
            // The first and the last day may lie half outside.
            let inner = |dates: &[Date]| -> Vec<Date> {
                let (first, last) = (civil(&zone, from).date(), civil(&zone, to).date());
                dates.iter().copied().filter(|date| *date != first && *date != last).collect()
            };
            prop_assert_eq!(inner(&dates), inner(&expected));
        }

        /// However long nobody looked, what was missed runs once: the last of it; and then the next is the next.
        #[test]
        fn what_was_missed_is_caught_up_once(
            when in rules(), zone in zones(), gaps in prop::collection::vec(1_u64..2000, 1..20),
        ) {
            let from = ms("2026-01-01T00:00Z");
            let mut known = Known { done_ms: None, changed_ms: from };
            let mut now = from;
            for gap in gaps {
                now += gap * 60 * MINUTE_MS;
                if let Some(moment) = due(&when, &zone, known, now) {
                    prop_assert!(moment <= now && known.done_ms.is_none_or(|done| moment > done));
                    // Nothing of the rule lies between it and now.
                    prop_assert!(next(&when, &zone, moment).is_none_or(|next| next > now));
                    known.done_ms = Some(moment);
                }
                prop_assert_eq!(due(&when, &zone, known, now), None);
            }
        }

        #[test]
        fn the_next_moment_is_the_one_that_becomes_due(when in rules(), zone in zones(), hours in 0_u64..20_000) {
            let now = ms("2026-01-01T00:00Z") + hours * 60 * MINUTE_MS;
            let moment = next(&when, &zone, now).expect("there is always a next one");
            let known = Known { done_ms: None, changed_ms: now };
            prop_assert_eq!(due(&when, &zone, known, moment - 1), None);
            prop_assert_eq!(due(&when, &zone, known, moment), Some(moment));
        }
    }
}
