//! What the protocol core asks of a worker: which file a client means, from the catalog in service.
//!
//! A name is a key of the catalog, never a path of a file system. Looked up as it is, then without regard to case, then
//! without the folder of one client before it. Where it is a terminal's own file and nobody has that card, the file for unknown
//! terminals stands in, if one is published.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use daybreak_store::journal::Refused;
use daybreak_store::{Catalog, Content as Stored, EntryId, EntryView, ImageHash, TerminalView};
use daybreak_tftp::endpoint::{Host, Mode, Opened, Question, Refusal};
use daybreak_tftp::name;
use daybreak_tftp::wire::ErrorCode;

use crate::clock::Clock;
use crate::io::Content;
use crate::limits;
use crate::names::{OwnKind, OwnName};
use crate::notice::{FileName, Notices, Told};
use crate::published::Published;
use crate::quiet::{Cause, Quiet};
use crate::strangers::Strangers;
use crate::texts::{TextError, Texts};

const NOT_FOUND: Refusal = Refusal {
    code: ErrorCode::FILE_NOT_FOUND,
    text: "file not found",
};
const FOLDER: Refusal = Refusal {
    code: ErrorCode::FILE_NOT_FOUND,
    text: "not the name of a file",
};
const NAME_REFUSED: Refusal = Refusal {
    code: ErrorCode::ACCESS_VIOLATION,
    text: "the name is not allowed",
};
const DISABLED: Refusal = Refusal {
    code: ErrorCode::ACCESS_VIOLATION,
    text: "this terminal is disabled: enable it in the administration",
};
const NO_SEAT: Refusal = Refusal {
    code: ErrorCode::ACCESS_VIOLATION,
    text: "this terminal has no licence seat: see the licences in the administration",
};
const STANDBY: Refusal = Refusal {
    code: ErrorCode::ACCESS_VIOLATION,
    text: "the other server boots this terminal: this one stands by, see its licences and synchronization",
};
const UNREADABLE: Refusal = Refusal {
    code: ErrorCode::NOT_DEFINED,
    text: "the file cannot be read on the server",
};
const DAMAGED: Refusal = Refusal {
    code: ErrorCode::NOT_DEFINED,
    text: "the file is damaged on the server",
};
const TOO_LARGE: Refusal = Refusal {
    code: ErrorCode::NOT_DEFINED,
    text: "too large for netascii: ask in octet mode",
};
const TEXTS_FULL: Refusal = Refusal {
    code: ErrorCode::NOT_DEFINED,
    text: "no room for netascii now: ask in octet mode",
};

/// What a host counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Names that the catalog does not have.
    pub names_not_found: u64,
    /// Configurations of terminals that are disabled.
    pub terminals_disabled: u64,
    /// Configurations of terminals that hold no seat.
    pub terminals_unseated: u64,
    /// Configurations of terminals that only the other server boots.
    pub terminals_standby: u64,
    /// Names that cannot be names of ours.
    pub names_refused: u64,
    /// Files that could not be opened or read, or are damaged.
    pub files_unreadable: u64,
    /// Files too large, or too many, for netascii.
    pub texts_refused: u64,
}

/// The files of one worker.
#[derive(Debug)]
pub struct Files {
    published: Arc<Published>,
    /// The state of `published` that the rest of this is of.
    changes: u64,
    catalog: Arc<Catalog>,
    damaged: Arc<BTreeSet<ImageHash>>,
    /// What was asked for since the last change. A transfer has its own handle.
    open: HashMap<EntryId, Content>,
    texts: Texts,
    buffer: name::Buffer,
    counters: Counters,
    quiet: Arc<Quiet>,
    clock: Clock,
    notices: Notices,
    strangers: Strangers,
    // Terminals that do not boot from here, told of in the same way.
    refused: Strangers,
}

impl Files {
    /// The files of the catalog in service.
    #[must_use]
    pub fn new(published: Arc<Published>, quiet: Arc<Quiet>, clock: Clock) -> Self {
        let changes = published.changes();
        Files {
            changes,
            catalog: published.catalog(),
            damaged: published.damaged(),
            published,
            open: HashMap::new(),
            texts: Texts::default(),
            buffer: name::Buffer::default(),
            counters: Counters::default(),
            quiet,
            clock,
            notices: Notices::default(),
            strangers: Strangers::default(),
            refused: Strangers::default(),
        }
    }

    /// Tells there who is unknown.
    #[must_use]
    pub fn with_notices(self, notices: Notices) -> Self {
        Files { notices, ..self }
    }

    /// Takes the catalog that is in service now, and what is known of its images.
    pub fn refresh(&mut self) {
        let changes = self.published.changes();
        if changes != self.changes {
            self.changes = changes;
            self.catalog = self.published.catalog();
            self.damaged = self.published.damaged();
            self.open.clear();
            self.texts.forget();
        }
    }

    /// The generation that new requests are answered from.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.catalog.generation().get()
    }

    /// What happened since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn find(&mut self, question: &Question<'_>) -> Result<EntryId, Refusal> {
        let key = match name::normalise(question.name, &mut self.buffer) {
            Ok(key) => key,
            Err(why) => {
                self.counters.names_refused += 1;
                if let Some(suppressed) = self.quiet.lets(Cause::NameRefused, self.clock.now()) {
                    tracing::warn!(
                        client = %question.path.remote,
                        name = %question.name.escape_ascii(),
                        %why,
                        suppressed,
                        "request refused"
                    );
                }
                return Err(if why == name::Refused::Folder {
                    FOLDER
                } else {
                    NAME_REFUSED
                });
            }
        };
        let catalog = &self.catalog;
        let keys = || std::iter::successors(Some(key), |key| name::shared(key)).take(2);
        let found =
            keys().find_map(|key| catalog.lookup(key).or_else(|| catalog.lookup_folded(key)));
        let own = keys().find_map(OwnName::parse);
        let terminal = own.and_then(|own| catalog.terminal(own.mac));
        if let (Some(own), Some(terminal)) = (own, terminal) {
            // Its boot scripts say the same on its screen, and are served.
            let configuration = own.kind == OwnKind::Configuration;
            if !terminal.enabled {
                if configuration {
                    self.counters.terminals_disabled += 1;
                    return Err(DISABLED);
                }
            } else if let Some(why) = refused(&terminal) {
                let now = self.clock.now();
                if self.refused.tell(now, own.mac) {
                    let told = Told::Refused(own.mac, FileName::of(key), why);
                    self.notices.tell(now, &question.path, told);
                }
                if configuration {
                    let (count, refusal) = match why {
                        Refused::NoSeat => (&mut self.counters.terminals_unseated, NO_SEAT),
                        Refused::Standby => (&mut self.counters.terminals_standby, STANDBY),
                    };
                    *count += 1;
                    return Err(refusal);
                }
            }
        }
        let mut stand_in = None;
        if let (Some(own), None, None) = (own, terminal, found) {
            stand_in = catalog.lookup(own.kind.fallback());
            let now = self.clock.now();
            if self.strangers.tell(now, own.mac) {
                let told = Told::Stranger(own.mac, FileName::of(key));
                self.notices.tell(now, &question.path, told);
            }
        }
        found.or(stand_in).ok_or_else(|| {
            self.counters.names_not_found += 1;
            if let Some(suppressed) = self.quiet.lets(Cause::NotFound, self.clock.now()) {
                tracing::debug!(
                    client = %question.path.remote,
                    name = %key.escape_ascii(),
                    generation = catalog.generation().get(),
                    suppressed,
                    "file not found"
                );
            }
            NOT_FOUND
        })
    }

    fn content(&mut self, id: EntryId, mode: Mode) -> Result<Content, Refusal> {
        if mode == Mode::Octet
            && let Some(content) = self.open.get(&id)
        {
            return Ok(content.clone());
        }
        let EntryView { name, content, .. } = self.catalog.entry(id);
        if matches!(content, Stored::Image(hash) if self.damaged.contains(&hash)) {
            self.counters.files_unreadable += 1;
            if let Some(suppressed) = self.quiet.lets(Cause::ImageUnreadable, self.clock.now()) {
                tracing::error!(name, suppressed, "damaged file not served: import it again");
            }
            return Err(DAMAGED);
        }
        let image = self.catalog.open(id).map_err(|why| {
            self.counters.files_unreadable += 1;
            if let Some(suppressed) = self.quiet.lets(Cause::ImageUnreadable, self.clock.now()) {
                tracing::error!(name, %why, suppressed, "file cannot be served");
            }
            UNREADABLE
        })?;
        if mode == Mode::Netascii {
            return self.texts.open(id, name, &image).map_err(|why| {
                let (count, refusal) = match why {
                    TextError::TooLarge => (&mut self.counters.texts_refused, TOO_LARGE),
                    TextError::Full => (&mut self.counters.texts_refused, TEXTS_FULL),
                    TextError::Io(_) => (&mut self.counters.files_unreadable, UNREADABLE),
                };
                *count += 1;
                if let Some(suppressed) = self.quiet.lets(Cause::TextRefused, self.clock.now()) {
                    tracing::warn!(name, ?why, suppressed, "file cannot be served in netascii");
                }
                refusal
            });
        }
        let content = Content::image(name, image);
        if self.open.len() >= limits::IMAGES_OPEN_MAX {
            self.open.retain(|_, content| content.handles() > 1);
        }
        if self.open.len() < limits::IMAGES_OPEN_MAX {
            self.open.insert(id, content.clone());
        }
        Ok(content)
    }
}

/// Why the terminal does not boot from here, if it does not.
pub(crate) fn refused(terminal: &TerminalView<'_>) -> Option<Refused> {
    match terminal {
        TerminalView { standby: true, .. } => Some(Refused::Standby),
        TerminalView { seated: false, .. } => Some(Refused::NoSeat),
        _ => None,
    }
}

impl Host for Files {
    type File = Content;

    fn open(&mut self, question: &Question<'_>) -> Result<Opened<Content>, Refusal> {
        self.refresh();
        let id = self.find(question)?;
        let file = self.content(id, question.mode)?;
        Ok(Opened {
            len: file.len(),
            file,
        })
    }
}
