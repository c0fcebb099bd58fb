//! A site of one's own for each test: a private data directory, a clock that the test sets, and short ways to say
//! what an operator does.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod api;
pub(crate) mod plant;
pub(crate) mod vendor;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use daybreak_admin::configuration::{Actor, ChangeError, Configuration, Edit, Expected};
use daybreak_admin::edge::{Clock, Machine};
use daybreak_admin::kind::{Body, Kind};
use daybreak_admin::licensing::{Count, Entitlement, Redundancy};
use daybreak_admin::object::{Id, Object};
use serde_json::Value;

/// A clock that goes when it is told to.
#[derive(Debug, Default)]
pub(crate) struct HandClock {
    now_ms: AtomicU64,
    running_ms: AtomicU64,
}

impl HandClock {
    pub(crate) fn at(now_ms: u64) -> Self {
        let clock = HandClock::default();
        clock.set(now_ms);
        clock
    }

    /// Somebody sets it.
    pub(crate) fn set(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Time goes by.
    pub(crate) fn pass(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
        self.running_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn running_ms(&self) -> u64 {
        self.running_ms.load(Ordering::Relaxed)
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
        let clock = Arc::new(HandClock::at(1_000_000));
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

/// As if licences for any number of everything were installed.
pub(crate) fn unlimited(configuration: &Configuration) {
    configuration.entitle(Entitlement {
        redundancy: Redundancy::Enterprise,
        seats: Count::Unlimited,
        grants_none: None,
        standby: false,
        automatic: false,
        instant_failover: Count::Unlimited,
        windows_client: Count::Unlimited,
        shared_keyboard_mouse: Count::Unlimited,
    });
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

/// Fails unless `json` is what the schema at `path` says, and the schema refuses something.
pub(crate) fn conforms(path: &str, json: &Value) {
    let text = std::fs::read_to_string(path).expect(path);
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    let mut compiler = boon::Compiler::new();
    compiler
        .add_resource("schema.json", schema)
        .expect("a resource");
    let mut schemas = boon::Schemas::new();
    let index = compiler
        .compile("schema.json", &mut schemas)
        .expect("a schema");
    let checked = schemas
        .validate(json, index)
        .map_err(|error| format!("{error:#}"));
    assert_eq!(checked, Ok(()), "{json}");
    // Every field is described: a reader of the schema misses nothing.
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    described(json, &schema, &schema, "");
    let mut other = json.clone();
    other["boot_servers"] = "nonsense".into();
    assert!(
        schemas.validate(&other, index).is_err(),
        "the schema refuses something"
    );
}

/// Fails where a field is in no `properties`.
fn described(json: &Value, schema: &Value, root: &Value, at: &str) {
    let named = schema["$ref"]
        .as_str()
        .and_then(|path| root.pointer(path.strip_prefix('#')?));
    let schema = named.unwrap_or(schema);
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                let at = format!("{at}.{name}");
                let own = &schema["properties"][name];
                let own = if own.is_null() {
                    &schema["additionalProperties"]
                } else {
                    own
                };
                assert!(own.is_object(), "the schema does not describe {at}");
                described(value, own, root, &at);
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| described(item, &schema["items"], root, at)),
        _ => {}
    }
}
