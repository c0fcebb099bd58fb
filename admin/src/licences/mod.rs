//! The licences of this server: their files, what is remembered of them, and what follows for the configuration.
//!
//! [`crate::licensing`] decides; here are the disk, the clock and the database. A licence is installed when its file is on the disk
//! and the database remembers it; a file that vanishes is a lost licence, which is warned of, until somebody removes it.
//! [`Licences::refresh`] may be called at any time, and [`Steward`] does so every few seconds: files that an operator puts or
//! takes away count, too.

mod folder;
mod lookout;
mod machine;
mod seats;
mod steward;

pub use folder::FileError;
pub use lookout::{HearError, Lookout};
pub use seats::{SeatError, give_seat, release_seat, tend};
pub use steward::Steward;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use self::folder::Folder;
use crate::configuration::{Actor, Configuration};
use crate::database::{Database, DatabaseError, LicensingRow};
use crate::licensing::{
    InstallationId, KeyId, Licence, LicenceClock, LicenceError, PairView, Situation, Status,
    Summary, ToldLicences, VendorKeys, Warning, Witnesses, status,
};
use crate::limits::{LICENCE_CLOCK_NOTED_MS, LICENCES_MAX};
use crate::object::{Id, NodeId};

/// Where machines say who they are.
pub const MACHINE_ID: &str = "/etc/machine-id";

/// Why a licence is not installed or removed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It is refused.
    #[error(transparent)]
    Licence(#[from] LicenceError),
    /// There is none.
    #[error("no licence {0} is installed")]
    Unknown(Id),
    /// The disk.
    #[error("the licence file cannot be kept: {0}")]
    File(#[from] FileError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// An installed licence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// What it says.
    pub licence: Licence,
    /// Its file, as it is.
    pub text: String,
}

/// What is known at one time.
#[derive(Clone, Debug)]
pub struct Known {
    /// Licences that are installed, by identifier.
    pub installed: Vec<Installed>,
    /// Licences and vendors' keys that are refused: their names, and why.
    pub refused: Vec<(String, LicenceError)>,
    /// Licences whose files are gone.
    pub lost: Vec<Summary>,
    /// The vendors' keys that are trusted.
    pub vendors: Vec<KeyId>,
    /// What follows.
    pub status: Status,
    /// The pair, as far as the link has told.
    pub pair: Option<PairView>,
    /// What the clock shows, while it is one that is believed; else the time that was believed last.
    time_ms: u64,
}

/// Files that are licences for this installation, files that are refused, and the keys that both were judged by.
type Sorted = (Vec<Installed>, Vec<(String, LicenceError)>, Vec<KeyId>);

/// See the module.
pub struct Licences {
    folder: Folder,
    configuration: Arc<Configuration>,
    store: NodeId,
    this: InstallationId,
    /// What this data directory was on another machine.
    moved_from: Mutex<Option<InstallationId>>,
    pair: Mutex<Option<PairView>>,
    clock: Mutex<LicenceClock>,
    known: ArcSwap<Known>,
    /// Held while files and database change together.
    changing: Mutex<()>,
}

impl Licences {
    /// Opens the licences in the data directory `data`, on the machine that `machine_id` (a file) names.
    pub fn open(
        data: &Path,
        machine_id: &Path,
        configuration: Arc<Configuration>,
    ) -> Result<Self, InstallError> {
        let keys = data.join("keys");
        let folder = Folder::open(keys.clone())?;
        let machine = machine::identity(machine_id, &keys, configuration.entropy());
        let machine = machine.map_err(|source| FileError::of(machine_id, source))?;
        let before = configuration.with_database(Database::licensing)?;
        let store = before.map_or_else(|| configuration.node(), |row| row.store);
        let this = InstallationId::derive(&machine, store);
        let moved_from = before
            .map(|row| row.installation)
            .filter(|before| *before != this);
        if let Some(before) = moved_from {
            tracing::warn!(
                %before, %this,
                "this data directory comes from another machine: it has a new Installation ID, and licences need a new activation"
            );
        }
        // Where nothing is remembered, the clock is believed as it is.
        let witnesses = before.map_or_else(
            || Witnesses {
                seen_ms: configuration.now_ms(),
                ..Witnesses::default()
            },
            |row| row.witnesses,
        );
        let clock = LicenceClock::new(witnesses, configuration.running_ms());
        let licences = Licences {
            folder,
            configuration,
            store,
            this,
            moved_from: Mutex::new(moved_from),
            pair: Mutex::default(),
            clock: Mutex::new(clock),
            known: ArcSwap::from_pointee(Known::nothing(this)),
            changing: Mutex::default(),
        };
        licences.refresh()?;
        Ok(licences)
    }

    /// This installation.
    #[must_use]
    pub fn installation(&self) -> InstallationId {
        self.this
    }

    /// What this data directory was on another machine, until a licence is installed here.
    #[must_use]
    pub fn moved_from(&self) -> Option<InstallationId> {
        *locked(&self.moved_from)
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> Arc<Known> {
        self.known.load_full()
    }

    /// What the partner is to be told of.
    #[must_use]
    pub fn told(&self) -> ToldLicences {
        let mut told = self.known().status.told.clone();
        told.ended.truncate(LICENCES_MAX);
        told
    }

    /// The files that the partner is to have, too: licences for both servers.
    #[must_use]
    pub fn for_partner(&self, partner: InstallationId) -> Vec<String> {
        let known = self.known();
        let shared = known
            .installed
            .iter()
            .filter(|installed| installed.licence.installations.contains(&partner));
        shared.map(|installed| installed.text.clone()).collect()
    }

    /// Says what the pair is: for the link to the partner, whenever that changes.
    pub fn set_pair(&self, pair: Option<PairView>) -> Result<(), InstallError> {
        {
            let mut known = locked(&self.pair);
            if *known == pair {
                return Ok(());
            }
            *known = pair;
        }
        self.refresh()
    }

    /// Verifies and installs a licence file. It takes the place of an earlier activation. On return it is on the disk and in force.
    pub fn install(&self, actor: &Actor, text: &[u8]) -> Result<Installed, InstallError> {
        let _changing = locked(&self.changing);
        let licence = self.folder.vendors()?.keys.read_for(text, self.this)?;
        let known = self.read()?;
        let before = known.iter().find(|known| known.licence.id == licence.id);
        if let Some(before) = before
            && before.licence.activation > licence.activation
        {
            return Err(InstallError::Licence(LicenceError::Replaced {
                installed: before.licence.activation,
                this: licence.activation,
            }));
        }
        let text = String::from_utf8_lossy(text).into_owned();
        let installed = Installed { licence, text };
        if before != Some(&installed) {
            if before.is_none() && known.len() >= LICENCES_MAX {
                return Err(InstallError::Licence(LicenceError::TooMany));
            }
            let licence = &installed.licence;
            self.folder.write_licence(&licence.id, &installed.text)?;
            self.note_time(Some(licence.issued_ms))?;
            let (old, new) = (before.map(|before| shown(&before.licence)), shown(licence));
            let action = if old.is_some() { "change" } else { "create" };
            let about = ("licence", licence.id.as_str());
            self.configuration
                .note(actor, action, about, old.as_ref(), Some(&new))?;
            *locked(&self.moved_from) = None;
        }
        self.look()?;
        Ok(installed)
    }

    /// Installs a licence that the partner has given, as [`Licences::install`] does; not one that somebody removed here. Gives whether
    /// it is installed now and was not before.
    pub fn take(&self, actor: &Actor, text: &str) -> Result<bool, InstallError> {
        let licence = self
            .folder
            .vendors()?
            .keys
            .read_for(text.as_bytes(), self.this)?;
        let known = self.known();
        let is_here = known
            .installed
            .iter()
            .any(|installed| installed.licence == licence);
        let removed = self.folder.removed_activation(&licence.id);
        if is_here || removed.is_some_and(|removed| licence.activation <= removed) {
            return Ok(false);
        }
        self.install(actor, text.as_bytes())?;
        Ok(true)
    }

    /// Removes a licence; also one whose file is lost. One for two servers stays on the other until it is removed there, too.
    pub fn remove(&self, actor: &Actor, id: &Id) -> Result<(), InstallError> {
        let _changing = locked(&self.changing);
        let known = self.read()?;
        let installed = known.iter().find(|known| known.licence.id == *id);
        let remembered = self.configuration.with_database(Database::licences)?;
        let remembered = remembered.into_iter().find(|licence| licence.id == *id);
        let (before, last) = match (installed, remembered) {
            (Some(installed), _) => {
                let licence = &installed.licence;
                (shown(licence), Summary::of(licence))
            }
            (None, Some(lost)) => (serde_json::to_value(&lost).unwrap_or_default(), lost),
            (None, None) => return Err(InstallError::Unknown(id.clone())),
        };
        if last.for_two {
            self.folder.write_removed(id, last.activation)?;
        }
        // A crash in between leaves a licence that is installed, and is remembered again.
        self.configuration
            .with_database(|database| database.remove_licence(id))?;
        self.folder.remove_licence(id)?;
        let about = ("licence", id.as_str());
        self.configuration
            .note(actor, "delete", about, Some(&before), None)?;
        self.look()
    }

    /// Trusts a vendor's key, given as the vendor's text.
    pub fn trust(&self, text: &str) -> Result<KeyId, InstallError> {
        let key = VendorKeys::parse_key(text).ok_or(LicenceError::NotAKey)?;
        let id = KeyId::of(&key);
        self.folder
            .write_vendor(&id.to_string(), &VendorKeys::key_text(&key))?;
        self.refresh()?;
        Ok(id)
    }

    /// Looks at files, clock and pair again; what follows is in force on return.
    pub fn refresh(&self) -> Result<(), InstallError> {
        let _changing = locked(&self.changing);
        self.look()
    }

    /// Every file that is a licence for this installation.
    fn read(&self) -> Result<Vec<Installed>, FileError> {
        Ok(self.sorted()?.0)
    }

    fn sorted(&self) -> Result<Sorted, FileError> {
        let vendors = self.folder.vendors()?;
        let (mut installed, mut refused) = (Vec::new(), vendors.refused);
        for (name, text) in self.folder.licences()? {
            let text = match text {
                Ok(text) => text,
                Err(why) => {
                    refused.push((name, why));
                    continue;
                }
            };
            match vendors.keys.read_for(&text, self.this) {
                Ok(licence) if licence.id.as_str() == name => {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    installed.push(Installed { licence, text });
                }
                // One licence has one file, so that it counts once.
                Ok(licence) => refused.push((name, misnamed(&licence))),
                Err(why) => refused.push((name, why)),
            }
        }
        Ok((installed, refused, vendors.keys.ids().collect()))
    }

    fn look(&self) -> Result<(), InstallError> {
        let (installed, refused, vendors) = self.sorted()?;
        let configuration = &self.configuration;
        let remembered = configuration.with_database(Database::licences)?;
        for known in &installed {
            let summary = Summary::of(&known.licence);
            if !remembered.contains(&summary) {
                configuration.with_database(|database| database.put_licence(&summary))?;
            }
        }
        let is_installed = |id: &Id| installed.iter().any(|known| known.licence.id == *id);
        let lost: Vec<Summary> = remembered
            .into_iter()
            .filter(|licence| !is_installed(&licence.id))
            .collect();
        let latest_ms = self.note_time(None)?;
        let licences: Vec<Licence> = installed
            .iter()
            .map(|known| known.licence.clone())
            .collect();
        let pair = locked(&self.pair).clone();
        let time_ms = configuration.now_ms().min(latest_ms);
        let status = status(&Situation {
            this: self.this,
            installed: &licences,
            lost: &lost,
            pair: pair.as_ref(),
            now_ms: configuration.now_ms(),
            latest_ms,
        });
        let entitlement = status.entitlement;
        let known = Known {
            installed,
            refused,
            lost,
            vendors,
            status,
            pair,
            time_ms,
        };
        let before = self.known.swap(Arc::new(known));
        // Also that the partner is told.
        if *configuration.site().entitlement() != entitlement
            || before.installed != self.known().installed
            || before.status.told != self.known().status.told
        {
            configuration.entitle(entitlement);
        }
        self.tell(&before);
        Ok(())
    }

    /// Says in the log what was not so before.
    fn tell(&self, before: &Known) {
        let now = self.known();
        for (name, why) in now
            .refused
            .iter()
            .filter(|one| !before.refused.contains(one))
        {
            tracing::warn!(name, %why, "a licence or a vendor's key is not used");
        }
        let said: Vec<String> = before
            .status
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect();
        for warning in now.status.warnings.iter().map(ToString::to_string) {
            if !said.contains(&warning) {
                tracing::warn!("{warning}");
            }
        }
    }

    /// The time that it is at least, whatever the clock says; noted now and then. `issued_ms`: a licence is installed that was activated
    /// then.
    fn note_time(&self, issued_ms: Option<u64>) -> Result<u64, InstallError> {
        let configuration = &self.configuration;
        let mut clock = locked(&self.clock);
        let (now_ms, running_ms) = (configuration.now_ms(), configuration.running_ms());
        clock.look(now_ms, running_ms);
        if let Some(issued_ms) = issued_ms {
            clock.activated(issued_ms);
            clock.look(now_ms, running_ms);
        }
        let row = configuration.with_database(Database::licensing)?;
        let mut next = row.unwrap_or(LicensingRow {
            store: self.store,
            installation: self.this,
            witnesses: Witnesses::default(),
        });
        if issued_ms.is_some() {
            next.installation = self.this;
        }
        let (noted, found) = (next.witnesses, clock.witnesses());
        let runs_on =
            |noted: u64, found: u64| found.saturating_sub(noted) >= LICENCE_CLOCK_NOTED_MS;
        if noted.issued_ms != found.issued_ms
            || runs_on(noted.seen_ms, found.seen_ms)
            || runs_on(noted.ran_ms, found.ran_ms)
        {
            next.witnesses = found;
        }
        if row != Some(next) {
            configuration.with_database(|database| database.put_licensing(&next))?;
        }
        Ok(found.latest_ms())
    }
}

impl Known {
    /// What the clock shows, while it is one that is believed; else the time that was believed last.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Whether the clock was set back.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        let mut warnings = self.status.warnings.iter();
        warnings.any(|warning| matches!(warning, Warning::ClockSetBack(_)))
    }

    fn nothing(this: InstallationId) -> Self {
        let nothing = Situation {
            this,
            installed: &[],
            lost: &[],
            pair: None,
            now_ms: 0,
            latest_ms: 0,
        };
        Known {
            installed: Vec::new(),
            refused: Vec::new(),
            lost: Vec::new(),
            vendors: Vec::new(),
            status: status(&nothing),
            pair: None,
            time_ms: 0,
        }
    }
}

fn misnamed(licence: &Licence) -> LicenceError {
    let id = &licence.id;
    LicenceError::Payload(format!(
        "its file is not named {id}.licence; install it by the administration"
    ))
}

/// What the audit shows of a licence.
fn shown(licence: &Licence) -> Value {
    serde_json::to_value(licence).unwrap_or_else(|_| json!({}))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
