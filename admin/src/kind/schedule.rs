//! When backups are made by themselves.
//!
//! Times are the civil times of the server that makes the backup, in its own time zone. What is due when is decided in
//! [`crate::schedule`]; here is only what can be said.

use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::Fault;
use super::text::{Broken, Label, Remark, checked_text};

/// Backups that are made by themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Its name; no other schedule has it.
    pub name: Label,
    /// Whether it holds.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// When.
    pub when: When,
    /// Whether images are backed up, too.
    #[serde(default)]
    pub images: bool,
    /// Which of its backups stay.
    #[serde(default)]
    pub keep: Keep,
    /// For people.
    #[serde(default)]
    pub remark: Remark,
}

/// When, in the time zone of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "every", rename_all = "kebab-case", deny_unknown_fields)]
pub enum When {
    /// Once.
    Once {
        /// The day.
        date: Date,
        /// The time of that day.
        time: TimeOfDay,
    },
    /// Every day.
    Day {
        /// The time of day.
        time: TimeOfDay,
    },
    /// On days of the week.
    Week {
        /// Which.
        on: Vec<Weekday>,
        /// The time of day.
        time: TimeOfDay,
    },
    /// Every month.
    Month {
        /// The day of the month, 1 to 31; in a shorter month, its last day.
        #[schema(minimum = 1, maximum = 31)]
        day: u8,
        /// The time of day.
        time: TimeOfDay,
    },
    /// Every year.
    Year {
        /// The month, 1 to 12.
        #[schema(minimum = 1, maximum = 12)]
        month: u8,
        /// The day of the month, 1 to 31; where the month is shorter, its last day.
        #[schema(minimum = 1, maximum = 31)]
        day: u8,
        /// The time of day.
        time: TimeOfDay,
    },
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "a name says it")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// Which backups of a schedule stay after it has made another. The newest always does; with neither bound, all do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// So many of the newest.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub count: Option<u16>,
    /// Those of the last so many days.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub days: Option<u16>,
}

checked_text!(
    /// A time of day: `02:30`.
    TimeOfDay,
    "^([01][0-9]|2[0-3]):[0-5][0-9]$",
    "a time is 00:00 to 23:59",
    |text| text.len() == 5 && time_of(text).is_some()
);

checked_text!(
    /// A day: `2027-01-31`, of the years 2000 to 2999.
    Date,
    "^2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$",
    "a date is as 2027-01-31, of the years 2000 to 2999",
    |text| text.len() == 10 && date_of(text).is_some()
);

fn yes() -> bool {
    true
}

fn digits(text: &str) -> Option<u16> {
    text.bytes()
        .all(|octet| octet.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn time_of(text: &str) -> Option<jiff::civil::Time> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (
        i8::try_from(digits(hour)?).ok()?,
        i8::try_from(digits(minute)?).ok()?,
    );
    jiff::civil::Time::new(hour, minute, 0, 0).ok()
}

fn date_of(text: &str) -> Option<jiff::civil::Date> {
    let mut parts = text.splitn(3, '-').map(digits);
    let year = i16::try_from(parts.next()??)
        .ok()
        .filter(|year| (2000..3000).contains(year))?;
    let (month, day) = (parts.next()??, parts.next()??);
    let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    jiff::civil::Date::new(year, month, day).ok()
}

impl TimeOfDay {
    /// The time.
    #[must_use]
    pub fn time(&self) -> jiff::civil::Time {
        time_of(self.as_str()).expect("checked when it was made")
    }
}

impl Date {
    /// The day.
    #[must_use]
    pub fn date(&self) -> jiff::civil::Date {
        date_of(self.as_str()).expect("checked when it was made")
    }
}

impl Weekday {
    /// As the calendar names it.
    #[must_use]
    pub const fn civil(self) -> jiff::civil::Weekday {
        match self {
            Weekday::Monday => jiff::civil::Weekday::Monday,
            Weekday::Tuesday => jiff::civil::Weekday::Tuesday,
            Weekday::Wednesday => jiff::civil::Weekday::Wednesday,
            Weekday::Thursday => jiff::civil::Weekday::Thursday,
            Weekday::Friday => jiff::civil::Weekday::Friday,
            Weekday::Saturday => jiff::civil::Weekday::Saturday,
            Weekday::Sunday => jiff::civil::Weekday::Sunday,
        }
    }
}

impl Schedule {
    pub(super) fn check(&self) -> Result<(), Fault> {
        let day = |day: u8| match day {
            1..=31 => Ok(()),
            _ => Err(Fault::new("when.day", "a day of a month is 1 to 31")),
        };
        match &self.when {
            When::Once { .. } | When::Day { .. } => {}
            When::Week { on, .. } => {
                let twice = (1..on.len()).any(|index| on[..index].contains(&on[index]));
                if on.is_empty() || twice {
                    return Err(Fault::new(
                        "when.on",
                        "name each day of the week that it is, once",
                    ));
                }
            }
            When::Month { day: of, .. } => day(*of)?,
            When::Year { month, day: of, .. } => {
                if !(1..=12).contains(month) {
                    return Err(Fault::new("when.month", "a month is 1 to 12"));
                }
                day(*of)?;
            }
        }
        for (field, bound) in [
            ("keep.count", self.keep.count),
            ("keep.days", self.keep.days),
        ] {
            if bound == Some(0) {
                return Err(Fault::new(
                    field,
                    "the newest backup always stays; this is 1 or more",
                ));
            }
        }
        Ok(())
    }
}
