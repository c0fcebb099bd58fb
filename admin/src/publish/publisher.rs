//! Making what was compiled the store's next generation, after every change, beside the changes.
//!
//! In a catalog, contents that lie in the catalog itself are rendered files, and are all ours: what nothing renders any
//! more is removed. Imported files are images, and are never touched; where one has the name of a rendered file it stays,
//! and that is a problem to be listed.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use daybreak_store::{Draft, Generation, Kept, Name, Store, StoreError, StoredContent};

use super::active::{ActiveVersion, Hindered, is_manifest, link};
use super::compile::{Compiled, Compiler};
use super::files::{AgreeError, Agreement, Seen, agree};
use crate::configuration::Configuration;
use crate::effective::{Problem, ProblemCode};
use crate::kind::Kind;
use crate::limits::{OTHERS_LOOKED_AT, PUBLISH_AGAIN_AFTER};
use crate::object::Id;

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

/// What was published last, as long as nobody else publishes.
#[derive(Debug)]
pub struct Last {
    /// The generation.
    pub generation: Generation,
    /// Its entries, for the next publication.
    pub kept: Option<Kept>,
    /// Rendered names that imported files have.
    pub taken: BTreeSet<Name>,
    /// The active versions that were published.
    pub active: Vec<ActiveVersion>,
    /// What stood in the way of their names.
    pub hindered: Hindered,
}

/// Publishes what was compiled. If the catalog is still the one that was published `last`, from the state that was
/// compiled before, only the difference is looked at; otherwise everything is compared.
pub fn publish(
    store: &Store,
    compiled: &Compiled<'_>,
    mut last: Option<Last>,
) -> Result<Last, StoreError> {
    let draft = begin(store, &mut last)?;
    publish_draft(draft, compiled, last)
}

/// Starts from what was published last, if it still is what is published; otherwise it is read.
fn begin<'s>(store: &'s Store, last: &mut Option<Last>) -> Result<Draft<'s>, StoreError> {
    let kept = last.as_mut().and_then(|last| last.kept.take());
    store.begin_with(kept)
}

/// Publishes a configuration, and brings its files and those of the catalog together: for a process that ends then.
pub fn publish_whole(store: &Store, configuration: &Configuration) -> Result<(), AgreeError> {
    let site = configuration.site();
    let mut compiler = Compiler::new();
    let mut draft = store.begin()?;
    let agreement = agree(&mut draft, configuration)?;
    publish_draft(draft, &compiler.compile(&site), None)?;
    if !agreement.agreed.is_empty() {
        configuration.remember_files(&agreement.agreed)?;
    }
    Ok(())
}

fn publish_draft(
    mut draft: Draft<'_>,
    compiled: &Compiled<'_>,
    last: Option<Last>,
) -> Result<Last, StoreError> {
    let last = last.filter(|last| last.generation == draft.base() && draft.warning().is_none());
    let inline =
        |content: Option<&StoredContent>| matches!(content, Some(StoredContent::Inline(_)));
    // As long as nobody else publishes, no file comes or goes.
    let linked = last.as_ref().filter(|last| last.active == compiled.active);
    let linked = linked.map(|last| last.hindered.clone());
    let (stale, wanted, mut taken): (Vec<Name>, Vec<&Name>, _) = match last {
        Some(last) => {
            for mac in &compiled.cards_changed {
                draft.set_terminal(*mac, compiled.cards.get(mac).cloned());
            }
            let changed = compiled.changed.iter();
            (compiled.removed.clone(), changed.collect(), last.taken)
        }
        None => {
            draft.set_terminals(compiled.cards.clone());
            let ours = draft
                .entries()
                .iter()
                .filter(|(_, content)| inline(Some(content)));
            let stale = ours.filter(|(name, _)| {
                !compiled.files.contains_key(*name) && !is_manifest(name.as_str())
            });
            let stale = stale.map(|(name, _)| name.clone()).collect();
            (stale, compiled.files.keys().collect(), BTreeSet::new())
        }
    };
    for name in stale {
        taken.remove(&name);
        if inline(draft.entries().get(&name)) {
            draft.remove(name.as_str());
        }
    }
    for name in wanted {
        let Some(content) = compiled.files.get(name) else {
            continue;
        };
        if matches!(draft.entries().get(name), Some(StoredContent::Image { .. })) {
            taken.insert(name.clone());
        } else {
            taken.remove(name);
            draft.put_inline(name.clone(), Arc::clone(content));
        }
    }
    let hindered = match linked {
        Some(hindered) => hindered,
        None => link(&mut draft, &compiled.active)?,
    };
    let (published, kept) = draft.publish_and_keep()?;
    Ok(Last {
        generation: published.generation,
        kept: Some(kept),
        taken,
        active: compiled.active.clone(),
        hindered,
    })
}

fn name_taken(name: &Name) -> Problem {
    Problem {
        code: ProblemCode::NameTaken,
        kind: "file",
        id: Id::parse("file").expect("an identifier"),
        message: format!("{name} was imported and stays; remove it to have the rendered one"),
        name: name.to_string(),
        field: None,
    }
}

fn image_missing(name: &Name) -> Problem {
    Problem {
        code: ProblemCode::ImageMissing,
        kind: "file",
        id: Id::parse("file").expect("an identifier"),
        message: format!(
            "the content of {name} is not here yet; it comes from the other server, or import it again"
        ),
        name: name.to_string(),
        field: None,
    }
}

fn too_many_files((id, package): &(Id, String)) -> Problem {
    Problem {
        code: ProblemCode::TooManyFiles,
        kind: Kind::FirmwarePackage.word(),
        id: id.clone(),
        message: format!("the files of {package} are served under the names with the version only"),
        name: package.clone(),
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

    /// The same, for whoever cannot hold this.
    #[must_use]
    pub fn waker(&self) -> Box<dyn Fn() + Send + Sync> {
        let shared = Arc::clone(&self.shared);
        Box::new(move || {
            shared.orders().wanted = true;
            shared.wake.notify_all();
        })
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
        let (mut last, mut seen) = (None, None);
        while self.next_order(last.as_ref()) {
            match self.publish_newest(&mut compiler, &mut last, &mut seen) {
                Ok(publication) => self.publication.store(Arc::new(publication)),
                Err(error) => {
                    tracing::error!(%error, "publishing failed; it is tried again");
                    let mut publication = Publication::clone(&self.publication.load());
                    publication.error = Some(error.to_string());
                    self.publication.store(Arc::new(publication));
                    self.try_again_later();
                }
            }
        }
    }

    /// Waits for something to do; `false`: to stop. What is wanted is published first. Files that another program imports
    /// meanwhile may belong to an active version, or have the name of a rendered file.
    fn next_order(&self, last: Option<&Last>) -> bool {
        let mut orders = self.orders();
        loop {
            if std::mem::take(&mut orders.wanted) {
                return true;
            }
            if orders.stop {
                return false;
            }
            let waited = self.wake.wait_timeout(orders, OTHERS_LOOKED_AT);
            let timeout;
            (orders, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() && last.is_some_and(|last| self.others_published(last)) {
                orders.wanted = true;
            }
        }
    }

    fn others_published(&self, last: &Last) -> bool {
        let generation = self.store.generation();
        generation.is_ok_and(|generation| generation != last.generation)
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
        last: &mut Option<Last>,
        seen: &mut Seen,
    ) -> Result<Publication, AgreeError> {
        let started = std::time::Instant::now();
        let site = self.configuration.site();
        let mut compiled = compiler.compile(&site);
        let mut draft = begin(&self.store, last)?;
        // Taken: after a failure nothing is known of what is published, and everything is compared.
        let before = last.take().filter(|last| last.generation == draft.base());
        let files = site.files();
        let looked_at = seen.take().filter(|seen| Arc::ptr_eq(seen, files));
        let agreement = match looked_at.filter(|_| before.is_some()) {
            Some(seen) => Agreement {
                seen: Some(seen),
                ..Agreement::default()
            },
            None => agree(&mut draft, &self.configuration)?,
        };
        let before = before.filter(|_| !agreement.changed);
        let published = publish_draft(draft, &compiled, before)?;
        if !agreement.agreed.is_empty() {
            self.configuration.remember_files(&agreement.agreed)?;
        }
        *seen = agreement.seen;
        if agreement.written {
            self.orders().wanted = true;
        }
        let generation = published.generation;
        compiled
            .problems
            .extend(published.taken.iter().map(name_taken));
        let hindered = &published.hindered;
        let names = hindered.taken.iter().map(name_taken);
        let packages = hindered.too_many.iter().map(too_many_files);
        let missing = agreement.missing.iter().map(image_missing);
        let problems = names.chain(packages).chain(missing);
        compiled.problems.extend(problems);
        *last = Some(published);
        let took = started.elapsed();
        let terminals = site.table(Kind::Terminal).len();
        tracing::info!(
            change = site.change(), %generation, terminals, rendered = compiled.rendered,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "published"
        );
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
