//! Events as rows: what every event has stands in columns, the rest is a JSON object.

use daybreak_store::journal::{Cause, Client, Event, Refused, Source, Stage, What, Why};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Every kind of event, with what it means.
pub const KINDS: [(&str, &str); 11] = [
    ("engine-started", "the engine serves"),
    (
        "engine-stopped",
        "the engine ended in order; one that was killed does not say so",
    ),
    (
        "boot-started",
        "a terminal has begun to fetch a boot script of its own",
    ),
    (
        "progress",
        "a client has a file; the stage says of which kind",
    ),
    ("boot-finished", "a terminal has its configuration"),
    ("boot-failed", "a client did not get a file; why says why"),
    (
        "status",
        "a terminal reported something new, or for the first time in a while",
    ),
    (
        "unknown-terminal",
        "a card that is nobody's asked for a file of its own",
    ),
    (
        "boot-refused",
        "a terminal that does not boot from this server asked for a file of its own; why says why",
    ),
    (
        "pair",
        "what happened between the two servers of a pair; what says what",
    ),
    (
        "lost",
        "events are missing; cause says where they were lost",
    ),
];

/// An event, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct EventRow {
    /// The order of all events on this server.
    pub number: i64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// What happened.
    pub kind: String,
    /// The terminal's identifier, if it was one of ours.
    pub terminal: Option<String>,
    /// Its name then.
    pub name: Option<String>,
    /// The network card.
    pub mac: Option<String>,
    /// The client's address.
    pub address: Option<String>,
    /// The address of ours that it used.
    pub server: Option<String>,
    /// How the client was attributed to the card: `name`, `address`, `key` or `anonymous`. Only `key` is more than a hint.
    pub source: Option<String>,
    /// What else is known; which fields there are depends on the kind.
    #[schema(value_type = Object)]
    pub details: Value,
}

impl EventRow {
    /// The row of an event; its number is given by the database.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let (kind, details) = details(&event.what);
        let client = event.what.client();
        let text = |part: fn(&Client) -> Option<String>| client.and_then(part);
        EventRow {
            number: 0,
            time_ms: event.time_ms,
            kind: kind.to_owned(),
            terminal: text(|client| client.terminal.as_ref().map(|terminal| terminal.id.clone())),
            name: text(|client| {
                client
                    .terminal
                    .as_ref()
                    .map(|terminal| terminal.name.clone())
            }),
            mac: text(|client| client.mac.map(|mac| mac.to_string())),
            address: text(|client| client.address.map(|address| address.to_string())),
            server: text(|client| client.server.map(|server| server.to_string())),
            source: client.map(|client| source(client.source).to_owned()),
            details,
        }
    }

    /// What happened between the two servers of a pair.
    #[must_use]
    pub fn of_pair(time_ms: u64, details: Value) -> Self {
        EventRow {
            kind: "pair".into(),
            details,
            ..EventRow::files_lost(time_ms, 0)
        }
    }

    /// Events that never reached this server: whole files of the journal.
    #[must_use]
    pub fn files_lost(time_ms: u64, files: u64) -> Self {
        EventRow {
            number: 0,
            time_ms,
            kind: "lost".into(),
            terminal: None,
            name: None,
            mac: None,
            address: None,
            server: None,
            source: None,
            details: json!({"files": files, "cause": "journal"}),
        }
    }
}

fn details(what: &What) -> (&'static str, Value) {
    match what {
        What::EngineStarted { version } => ("engine-started", json!({"version": version})),
        What::EngineStopped => ("engine-stopped", json!({})),
        What::BootStarted { file, .. } => ("boot-started", json!({"file": file})),
        What::Progress {
            stage,
            file,
            octets,
            duration_ms,
            ..
        } => (
            "progress",
            json!({"stage": stage_word(*stage), "file": file, "bytes": octets, "duration_ms": duration_ms}),
        ),
        What::BootFinished {
            file,
            octets,
            duration_ms,
            boot,
            ..
        } => {
            let boot = boot
                .map(|(octets, duration_ms)| json!({"bytes": octets, "duration_ms": duration_ms}));
            let details =
                json!({"file": file, "bytes": octets, "duration_ms": duration_ms, "boot": boot});
            ("boot-finished", details)
        }
        What::BootFailed {
            file,
            octets,
            duration_ms,
            why,
            ..
        } => (
            "boot-failed",
            json!({"file": file, "bytes": octets, "duration_ms": duration_ms, "why": why_text(*why)}),
        ),
        What::Status { report, .. } => (
            "status",
            json!({
                "stage": report_stage(report.stage), "sessions": report.sessions, "uptime_s": report.uptime_s,
                "interval_s": report.interval_s,
            }),
        ),
        What::UnknownTerminal { file, .. } => ("unknown-terminal", json!({"file": file})),
        What::BootRefused { file, why, .. } => (
            "boot-refused",
            json!({"file": file, "why": refused_text(*why)}),
        ),
        What::Lost { events, cause } => {
            let cause = match cause {
                Cause::Queue => "queue",
                Cause::Disk => "disk",
            };
            ("lost", json!({"events": events, "cause": cause}))
        }
    }
}

/// How a client was attributed, as a word.
pub(super) fn source(source: Source) -> &'static str {
    match source {
        Source::Anonymous => "anonymous",
        Source::Name => "name",
        Source::Address => "address",
        Source::Key => "key",
    }
}

/// How far a boot is, as a word.
pub(super) fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Script => "script",
        Stage::Firmware => "firmware",
        Stage::Other => "other",
    }
}

/// The stage that a terminal reports, as a word: see `docs/protocol.md`.
pub(super) fn report_stage(stage: u8) -> &'static str {
    match stage {
        1 => "starting",
        2 => "loading",
        3 => "connecting",
        4 => "running",
        5 => "stopping",
        6 => "failed",
        _ => "unknown",
    }
}

/// Why a terminal does not boot from this server, for people.
pub(super) fn refused_text(why: Refused) -> &'static str {
    match why {
        Refused::NoSeat => "it holds no licence seat",
        Refused::Standby => "the other server boots it: this one stands by",
    }
}

/// Why a transfer failed, for people.
pub(super) fn why_text(why: Why) -> String {
    match why {
        Why::TimedOut => "the client fell silent".into(),
        Why::Aborted(code) => format!("the client ended it with TFTP error {code}"),
        Why::SendFailed => "the file could not be sent".into(),
        Why::ShutDown => "the engine went down".into(),
    }
}
