//! A site of one's own for each test: a private data directory, a clock that the test sets, and short ways to say
//! what an operator does.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod api;
pub(crate) mod plant;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use daybreak_admin::configuration::{Actor, ChangeError, Configuration, Edit, Expected};
use daybreak_admin::edge::{Clock, Machine};
use daybreak_admin::kind::{Body, Kind};
use daybreak_admin::object::{Id, Object};
use serde_json::Value;

/// A clock that goes when it is told to.
#[derive(Debug)]
pub(crate) struct HandClock(pub(crate) AtomicU64);

impl HandClock {
    pub(crate) fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A configuration in a directory of its own.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) configuration: Arc<Configuration>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        let clock = Arc::new(HandClock(AtomicU64::new(1_000_000)));
        let configuration = open(&dir, &clock);
        Site {
            dir,
            clock,
            configuration,
        }
    }

    /// The same site after a restart of the process.
    pub(crate) fn restarted(self) -> Self {
        let Site {
            dir,
            clock,
            configuration,
        } = self;
        drop(configuration);
        let configuration = open(&dir, &clock);
        Site {
            dir,
            clock,
            configuration,
        }
    }

    pub(crate) fn apply(&self, edit: Edit) -> Result<Option<Arc<Object>>, ChangeError> {
        let outcome = self.configuration.apply(&actor(), vec![edit]);
        outcome.map(|mut objects| objects.remove(0))
    }

    pub(crate) fn try_create(&self, kind: Kind, json: &Value) -> Result<Arc<Object>, ChangeError> {
        let body = Body::parse_request(kind, json)?;
        self.apply(Edit::Create(body))
            .map(|object| object.expect("an object"))
    }

    pub(crate) fn create(&self, kind: Kind, json: &Value) -> Id {
        self.try_create(kind, json).expect("created").id.clone()
    }

    pub(crate) fn try_replace(
        &self,
        kind: Kind,
        id: &Id,
        json: &Value,
    ) -> Result<Arc<Object>, ChangeError> {
        let edit = Edit::Replace {
            id: id.clone(),
            body: Body::parse_request(kind, json)?,
            expected: Expected::Any,
        };
        self.apply(edit).map(|object| object.expect("an object"))
    }

    pub(crate) fn delete(&self, kind: Kind, id: &Id, force: bool) -> Result<(), ChangeError> {
        let edit = Edit::Delete {
            kind,
            id: id.clone(),
            expected: Expected::Any,
            force,
        };
        self.apply(edit).map(drop)
    }

    pub(crate) fn object(&self, kind: Kind, id: &Id) -> Arc<Object> {
        Arc::clone(self.configuration.site().object(kind, id).expect("there"))
    }
}

fn open(dir: &tempfile::TempDir, clock: &Arc<HandClock>) -> Arc<Configuration> {
    let path = dir.path().join("config.db");
    let clock: Arc<dyn Clock> = Arc::<HandClock>::clone(clock);
    Arc::new(Configuration::open(&path, clock, Arc::new(Machine)).expect("open"))
}

/// Somebody who may do everything.
pub(crate) fn actor() -> Actor {
    Actor::machine("test")
}

/// The `number`th MAC address.
pub(crate) fn mac(number: u32) -> String {
    let [a, b, c, d] = number.to_be_bytes();
    format!("52:54:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Waits until `ready` gives something; fails after 10 seconds.
pub(crate) fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
