//! Making what was compiled the store's next generation, after every change, beside the changes.
//!
//! In a catalog, contents that lie in the catalog itself are rendered files, and are all ours: what nothing renders any
//! more is removed. Imported files are images, and are never touched; where one has the name of a rendered file it stays,
//! and that is a problem to be listed.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use daybreak_store::{Generation, Name, Store, StoreError, StoredContent};

use super::compile::{Compiled, Compiler, Files};
use crate::configuration::Configuration;
use crate::effective::Problem;
use crate::kind::Kind;
use crate::limits::PUBLISH_AGAIN_AFTER;

/// What is published, as far as the configuration goes.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// Whether anything was published since the start of this process.
    pub ran: bool,
    /// The number of the last change that is published.
    pub change: u64,
    /// The generation that it is in.
    pub generation: Generation,
    /// What is wrong with the configuration.
    pub problems: Vec<Problem>,
    /// Why the newest state is not published yet, if it is not. It is tried again.
    pub error: Option<String>,
    /// How long the last one took from compiling to published.
    pub took: Duration,
}

/// Publishes one state. `last` is what was published before, if the caller knows: only differences are looked at then.
pub fn publish(
    store: &Store,
    compiled: &mut Compiled,
    last: Option<&(Generation, Files)>,
) -> Result<Generation, StoreError> {
    let mut draft = store.begin()?;
    let known =
        last.filter(|(generation, _)| *generation == draft.base() && draft.warning().is_none());
    let stale: Vec<Name> = match known {
        Some((_, files)) => files
            .keys()
            .filter(|name| !compiled.files.contains_key(*name))
            .cloned()
            .collect(),
        None => {
            let ours = draft
                .entries()
                .iter()
                .filter(|(_, content)| matches!(content, StoredContent::Inline(_)));
            ours.filter(|(name, _)| !compiled.files.contains_key(*name))
                .map(|(name, _)| name.clone())
                .collect()
        }
    };
    for name in stale {
        if matches!(draft.entries().get(&name), Some(StoredContent::Inline(_))) {
            draft.remove(name.as_str());
        }
    }
    let mut taken = Vec::new();
    for (name, content) in &compiled.files {
        let before = known.and_then(|(_, files)| files.get(name));
        let same = before.is_some_and(|before| Arc::ptr_eq(before, content));
        match draft.entries().get(name) {
            Some(StoredContent::Image { .. }) => taken.push(name.to_string()),
            _ if same => {}
            _ => drop(draft.put_inline(name.clone(), Arc::clone(content))),
        }
    }
    compiled.problems.extend(taken.into_iter().map(name_taken));
    Ok(draft.publish()?.generation)
}

fn name_taken(name: String) -> Problem {
    Problem {
        code: "name_taken",
        kind: "file",
        id: crate::object::Id::parse("file").expect("an identifier"),
        message: format!("{name} was imported and stays; remove it to have the rendered one"),
        name,
        field: None,
    }
}

/// The thread that publishes.
pub struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    configuration: Arc<Configuration>,
    store: Store,
    orders: Mutex<Orders>,
    wake: Condvar,
    publication: ArcSwap<Publication>,
}

#[derive(Default)]
struct Orders {
    wanted: bool,
    stop: bool,
}

impl Publisher {
    /// Starts it. What is configured now is published at once.
    pub fn start(configuration: Arc<Configuration>, store: Store) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            configuration,
            store,
            orders: Mutex::new(Orders {
                wanted: true,
                stop: false,
            }),
            wake: Condvar::new(),
            publication: ArcSwap::default(),
        });
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("publisher".into())
            .spawn(move || worker.run())?;
        Ok(Publisher {
            shared,
            thread: Some(thread),
        })
    }

    /// Says that something changed.
    pub fn wake(&self) {
        self.shared.orders().wanted = true;
        self.shared.wake.notify_all();
    }

    /// What is published.
    #[must_use]
    pub fn publication(&self) -> Arc<Publication> {
        self.shared.publication.load_full()
    }
}

impl Drop for Publisher {
    /// Ends it after the state that it is at.
    fn drop(&mut self) {
        self.shared.orders().stop = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // If it has panicked, it has said so.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut compiler = Compiler::new();
        let mut last = None;
        while self.next_order() {
            match self.publish_newest(&mut compiler, &mut last) {
                Ok(publication) => self.publication.store(Arc::new(publication)),
                Err(error) => {
                    tracing::error!(%error, "publishing failed; it is tried again");
                    let mut publication = Publication::clone(&self.publication.load());
                    publication.error = Some(error.to_string());
                    self.publication.store(Arc::new(publication));
                    last = None;
                    self.try_again_later();
                }
            }
        }
    }

    /// Waits for something to do; `false`: to stop. What is wanted is published first.
    fn next_order(&self) -> bool {
        let mut orders = self.orders();
        loop {
            if std::mem::take(&mut orders.wanted) {
                return true;
            }
            if orders.stop {
                return false;
            }
            orders = self
                .wake
                .wait(orders)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn try_again_later(&self) {
        let orders = self.orders();
        let waited = self
            .wake
            .wait_timeout_while(orders, PUBLISH_AGAIN_AFTER, |orders| !orders.stop);
        let (mut orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
        orders.wanted = !orders.stop;
    }

    fn publish_newest(
        &self,
        compiler: &mut Compiler,
        last: &mut Option<(Generation, Files)>,
    ) -> Result<Publication, StoreError> {
        let started = std::time::Instant::now();
        let site = self.configuration.site();
        let mut compiled = compiler.compile(&site);
        let generation = publish(&self.store, &mut compiled, last.as_ref())?;
        let took = started.elapsed();
        let terminals = site.table(Kind::Terminal).len();
        tracing::info!(
            change = site.change(), %generation, terminals, rendered = compiled.rendered,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "published"
        );
        *last = Some((generation, compiled.files));
        Ok(Publication {
            ran: true,
            change: site.change(),
            generation,
            problems: compiled.problems,
            error: None,
            took,
        })
    }
}
