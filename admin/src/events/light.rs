//! What the events say of a terminal: its light, its last boot, what it reported.
//!
//! A function of the events in their order, and of the time at which one looks: nothing here reads a clock.
//!
//! - **green**: it has got what it asked for (its configuration, or firmware after its script), or it reports that it runs;
//! - **red**: it did not get a file, it reports that it failed, or it has announced a report and is silent; a file that it
//!   left by itself (it had seen enough, or somebody pressed a key) changes nothing;
//! - **grey**: nothing is known, it boots or goes down, or the engine that it reports to is not running.

use daybreak_store::journal::{Event, Stage, What, Why};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::row::{refused_text, report_stage, stage_word, why_text};
use crate::limits::REPORT_GRACE_MS;

/// How a terminal is, at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Light {
    /// It works, as far as this server can tell.
    Green,
    /// It does not.
    Red,
    /// Not known, or in between.
    #[default]
    Grey,
}

/// What is known of a terminal. As it is stored; [`Status::shown`] is what it means at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    light: Light,
    since_ms: u64,
    stage: Option<String>,
    /// When it last showed that it lives.
    #[serde(default)]
    seen_ms: Option<u64>,
    boot_started_ms: Option<u64>,
    last_boot: Option<Boot>,
    failure: Option<Failure>,
    reported: Option<Reported>,
}

/// A boot that has come to its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Boot {
    /// When it had its configuration, in milliseconds since 1970.
    pub finished_ms: u64,
    /// How long it took from the script to the configuration; `null`: no script was seen.
    pub duration_ms: Option<u64>,
    /// Octets that it fetched in that time.
    pub bytes: Option<u64>,
}

/// Why the last transfer that failed did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// When.
    pub time_ms: u64,
    /// The file.
    pub file: String,
    /// Why, for people.
    pub why: String,
}

/// What the terminal said last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reported {
    /// When.
    pub time_ms: u64,
    /// How far it was.
    pub stage: String,
    /// Sessions that it had open.
    pub sessions: u16,
    /// How long it was running.
    pub uptime_s: u32,
    /// Within which time it announced the next report.
    pub interval_s: u16,
}

/// What a status means at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown<'s> {
    /// The light.
    pub light: Light,
    /// Since when; `None`: nothing is known.
    pub since_ms: Option<u64>,
    /// Why it is not green, for people.
    pub why: Option<String>,
    /// How far it is.
    pub stage: Option<&'s str>,
    /// When the boot that is going on began.
    pub boot_started_ms: Option<u64>,
    /// The last boot that came to its end.
    pub last_boot: Option<&'s Boot>,
    /// The last failure.
    pub failure: Option<&'s Failure>,
    /// The last report.
    pub reported: Option<&'s Reported>,
    /// How long the terminal runs, if it reports.
    pub uptime_s: Option<u64>,
    /// Sessions that are open, if it reports.
    pub sessions: Option<u16>,
}

/// TFTP errors with which a client leaves a file that it does not want any more: 0, what GRUB sends for a file that it has
/// read a part of, and iPXE when somebody presses a key; 8, what clients send that ask again with other options.
const LEFT_BY_ITSELF: [u16; 2] = [0, 8];

impl Failure {
    fn text(&self) -> String {
        format!("{}: {}", self.file, self.why)
    }
}

impl Reported {
    /// When its silence means something; or since when nobody can hear it, because the engine does not run.
    fn overdue_ms(&self, engine: Option<Engine>) -> Result<u64, u64> {
        let heard_ms = match engine {
            Some(Engine::Stopped(at_ms)) => return Err(at_ms),
            // Nobody could be heard before.
            Some(Engine::Started(at_ms)) => at_ms.max(self.time_ms),
            None => self.time_ms,
        };
        let twice = u64::from(self.interval_s) * 2000;
        Ok(heard_ms + twice + REPORT_GRACE_MS)
    }

    fn light(&self) -> Light {
        match self.stage.as_str() {
            "running" => Light::Green,
            "failed" => Light::Red,
            _ => Light::Grey,
        }
    }
}

impl Status {
    /// Takes an event of this terminal.
    pub fn take(&mut self, event: &Event) {
        let time_ms = event.time_ms;
        let before = self.at(time_ms, None);
        let silent = matches!(
            event.what,
            What::BootFailed {
                why: Why::TimedOut | Why::ShutDown,
                ..
            }
        );
        if !silent {
            self.seen_ms = self.seen_ms.max(Some(time_ms));
        }
        let light = match &event.what {
            What::BootStarted { .. } => {
                // What it said of itself is over.
                self.reported = None;
                self.boot_started_ms = Some(time_ms);
                self.stage = Some("boot".into());
                Light::Grey
            }
            What::Progress { stage, .. } => {
                if self.reported.is_some() {
                    // It fetches something while it runs.
                    return;
                }
                self.stage = Some(stage_word(*stage).into());
                match stage {
                    Stage::Firmware => Light::Green,
                    Stage::Script | Stage::Other => before.0,
                }
            }
            What::BootFinished { boot, .. } => {
                self.boot_started_ms = None;
                self.failure = None;
                self.last_boot = Some(Boot {
                    finished_ms: time_ms,
                    duration_ms: boot.map(|(_, duration_ms)| duration_ms),
                    bytes: boot.map(|(bytes, _)| bytes),
                });
                if self.reported.is_some() {
                    return;
                }
                self.stage = Some("configuration".into());
                Light::Green
            }
            What::BootFailed { file, why, .. } => {
                // That of an engine that goes down says nothing of the terminal.
                if *why == Why::ShutDown {
                    return;
                }
                self.failure = Some(Failure {
                    time_ms,
                    file: file.clone(),
                    why: why_text(*why),
                });
                if self.reported.is_some() {
                    return;
                }
                match why {
                    Why::Aborted(code) if LEFT_BY_ITSELF.contains(code) => before.0,
                    _ => Light::Red,
                }
            }
            What::BootRefused { file, why, .. } => {
                self.failure = Some(Failure {
                    time_ms,
                    file: file.clone(),
                    why: refused_text(*why).into(),
                });
                self.boot_started_ms = None;
                Light::Red
            }
            What::Status { report, .. } => {
                let reported = Reported {
                    time_ms,
                    stage: report_stage(report.stage).into(),
                    sessions: report.sessions,
                    uptime_s: report.uptime_s,
                    interval_s: report.interval_s,
                };
                self.boot_started_ms = None;
                self.stage = Some(reported.stage.clone());
                let light = reported.light();
                self.reported = Some(reported);
                light
            }
            What::EngineStarted { .. }
            | What::EngineStopped
            | What::UnknownTerminal { .. }
            | What::Lost { .. } => return,
        };
        if light != before.0 || before.1.is_none() {
            self.since_ms = time_ms;
        } else if let Some(since_ms) = before.1 {
            self.since_ms = since_ms;
        }
        self.light = light;
    }

    /// When the terminal last showed that it lives, in milliseconds since 1970.
    #[must_use]
    pub fn seen_ms(&self) -> Option<u64> {
        self.seen_ms
    }

    /// Until when it may be silent and still counts as working, by what it reports; `None`: it does not report, it said that it
    /// failed or stops, or the engine that it reports to is not running.
    #[must_use]
    pub fn works_until_ms(&self, engine: Option<Engine>) -> Option<u64> {
        let works =
            |reported: &&Reported| !["stopping", "failed"].contains(&reported.stage.as_str());
        let reported = self.reported.as_ref().filter(works)?;
        reported.overdue_ms(engine).ok()
    }

    /// What it means at `now_ms`. `engine_ms`: since when the engine runs, or is known not to.
    #[must_use]
    pub fn shown(&self, now_ms: u64, engine: Option<Engine>) -> Shown<'_> {
        let (light, since_ms) = self.at(now_ms, engine);
        let silent = self.reported.is_some() && light != self.light;
        let why = match (light, &self.failure, &self.reported) {
            (Light::Red, _, Some(_)) if silent => Some("it has not reported when it should".into()),
            (Light::Grey, _, Some(_)) if silent => {
                Some("the engine that it reports to is not running".into())
            }
            (Light::Red, _, Some(_)) => Some("it reports that it failed".into()),
            (Light::Red, Some(failure), None) => Some(failure.text()),
            // The boot that goes on stands still since then.
            (Light::Grey, Some(failure), None)
                if self
                    .boot_started_ms
                    .is_some_and(|started_ms| failure.time_ms >= started_ms) =>
            {
                Some(failure.text())
            }
            _ => None,
        };
        let live = self.reported.as_ref().filter(|_| !silent);
        Shown {
            light,
            since_ms,
            why,
            stage: self.stage.as_deref(),
            boot_started_ms: self.boot_started_ms,
            last_boot: self.last_boot.as_ref(),
            failure: self.failure.as_ref(),
            reported: self.reported.as_ref(),
            uptime_s: live
                .map(|live| u64::from(live.uptime_s) + now_ms.saturating_sub(live.time_ms) / 1000),
            sessions: live.map(|live| live.sessions),
        }
    }

    /// The light and since when.
    fn at(&self, now_ms: u64, engine: Option<Engine>) -> (Light, Option<u64>) {
        let known = (self.since_ms > 0).then_some(self.since_ms);
        let Some(reported) = &self.reported else {
            return (self.light, known);
        };
        if self.light == Light::Grey && reported.stage == "stopping" {
            return (Light::Grey, known);
        }
        match reported.overdue_ms(engine) {
            Err(stopped_ms) => (Light::Grey, Some(stopped_ms)),
            Ok(overdue_ms) if now_ms > overdue_ms => (Light::Red, Some(overdue_ms)),
            Ok(_) => (self.light, known),
        }
    }
}

/// How the engine is, as far as its events tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// It serves since then.
    Started(u64),
    /// It ended then.
    Stopped(u64),
}
