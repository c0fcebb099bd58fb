//! The licence authority of a vendor: signing keys, master licences, activations, and a ledger of what was issued.
//!
//! It works offline: a customer sends Installation IDs, and gets one file back. A directory holds everything: `keys/<id>.key` (the secret,
//! 0600) with `keys/<id>.pub` beside it, which is given to customers, and `ledger.db`. What is given out was written into the ledger before.

mod accounts;
mod ledger;

pub use ledger::{Account, Activation, Issuer, LedgerError, Listed, Master};

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::SigningKey;

use self::ledger::Ledger;
use crate::edge::{Clock, Entropy, random};
use crate::kind::{Broken, LoginName};
use crate::licensing::{
    InstallationId, KeyId, Licence, LicenceError, Product, ProductLicence, Redundancy,
    SCHEMA_VERSION, VendorKeys, sign,
};
use crate::limits::{
    ACCOUNTS_MAX, CUSTOMER_REPLACEMENTS_MAX, CUSTOMER_REPLACEMENTS_MS, LICENCE_COUNT_MAX,
    LICENCE_PRODUCTS_MAX, LICENCE_TEXT_BYTES_MAX,
};
use crate::object::Id;
use crate::security::{hex, unhex};

const KEY_LINE: &str = "daybreak-signing-key ";

/// Why the authority does nothing.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of a key holds none.
    #[error("{0} holds no signing key")]
    NoKey(PathBuf),
    /// There is no key to sign with.
    #[error("there is no signing key yet: make one with new-key")]
    Keyless,
    /// No such licence.
    #[error("there is no master licence {0}; list shows those that there are")]
    Unknown(Id),
    /// A product does not go with the master licence.
    #[error("a master licence with redundancy {} holds no {}", .1.word(), .0.word())]
    Unfit(Product, Redundancy),
    /// So many there cannot be.
    #[error(
        "a product licence counts 1 to {LICENCE_COUNT_MAX}, and a master licence has {LICENCE_PRODUCTS_MAX} of them at most"
    )]
    Count,
    /// A customer needs a name that can be shown.
    #[error(
        "a customer has a name of 1 to {LICENCE_TEXT_BYTES_MAX} octets, without control characters"
    )]
    Customer,
    /// It holds no more.
    #[error("this licence ended on {}: ask for a new one", day(*.0))]
    Ended(u64),
    /// The customer has done so often enough.
    #[error(
        "a server of this licence was replaced {CUSTOMER_REPLACEMENTS_MAX} times within a year: ask the vendor to activate it"
    )]
    Replaced,
    /// A name that nobody can log in with.
    #[error(transparent)]
    AccountName(#[from] Broken),
    /// The name is another's.
    #[error("there is an account {} already: choose another name", .0.as_str())]
    AccountTaken(LoginName),
    /// No such account.
    #[error("there is no such account")]
    NoAccount,
    /// As many as there may be.
    #[error("there are {ACCOUNTS_MAX} accounts: remove one first")]
    TooManyAccounts,
    /// The link cannot be used.
    #[error(
        "this link is not valid: it was used, or it is older than 7 days, or a newer one was made. Ask whoever gave it to you for another"
    )]
    Invitation,
    /// The licence would be refused.
    #[error(transparent)]
    Licence(#[from] LicenceError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// See the module.
pub struct Authority {
    keys: PathBuf,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Authority {
    /// The authority in `folder`, made if it is not there.
    pub fn open(
        folder: &Path,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, AuthorityError> {
        let keys = folder.join("keys");
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&keys);
        made.map_err(failed(&keys))?;
        let ledger = Ledger::open(&folder.join("ledger.db"))?;
        Ok(Authority {
            keys,
            ledger,
            clock,
            entropy,
        })
    }

    /// Makes a new signing key; it signs from now on. Earlier ones stay, for whoever looks at what they signed.
    pub fn new_key(&self) -> Result<KeyId, AuthorityError> {
        let key = SigningKey::from_bytes(&random(&*self.entropy));
        let id = KeyId::of(&key.verifying_key());
        let secret = format!("{KEY_LINE}{}\n", hex(&key.to_bytes()));
        write(&self.keys.join(format!("{id}.key")), 0o600, &secret)?;
        let public = VendorKeys::key_text(&key.verifying_key());
        write(&self.keys.join(format!("{id}.pub")), 0o644, &public)?;
        self.ledger.use_key(id, self.clock.now_ms())?;
        Ok(id)
    }

    /// The file of the key that signs, which customers put into `keys/vendors`.
    pub fn public_key(&self) -> Result<PathBuf, AuthorityError> {
        let id = self.ledger.key()?.ok_or(AuthorityError::Keyless)?;
        Ok(self.keys.join(format!("{id}.pub")))
    }

    fn signing_key(&self) -> Result<SigningKey, AuthorityError> {
        let id = self.ledger.key()?.ok_or(AuthorityError::Keyless)?;
        let path = self.keys.join(format!("{id}.key"));
        let text = fs::read_to_string(&path).map_err(failed(&path))?;
        let digits = text.trim_end().strip_prefix(KEY_LINE).and_then(unhex);
        let key = digits.map(|seed| SigningKey::from_bytes(&seed));
        key.ok_or(AuthorityError::NoKey(path))
    }

    /// Creates a master licence, without products yet.
    pub fn create(
        &self,
        customer: &str,
        redundancy: Redundancy,
        valid_days: Option<u32>,
    ) -> Result<Master, AuthorityError> {
        let now_ms = self.clock.now_ms();
        let customer = customer_name(customer)?;
        let name = format!("lic-{}", hex(&random::<6>(&*self.entropy)));
        let master = Master {
            id: Id::parse(&name).expect("letters and digits"),
            customer,
            redundancy,
            valid_from_ms: now_ms,
            valid_until_ms: valid_days.map(|days| now_ms + u64::from(days) * 24 * 60 * 60 * 1000),
            products: Vec::new(),
        };
        // What could never be signed is not begun.
        let one = |number: u8| {
            InstallationId::derive("a sample", crate::object::NodeId::from_random([number; 8]))
        };
        let most = *redundancy.servers().end();
        let installations = (1..=2).map(one).take(most).collect();
        let sample = licence(&master, 1, installations, now_ms);
        let checked = sample.check();
        checked.map_err(|why| LicenceError::Payload(why.to_owned()))?;
        self.ledger.add_master(&master, now_ms)?;
        Ok(master)
    }

    /// Adds a product licence to a master licence. It takes effect with the next activation.
    pub fn add_product(
        &self,
        id: &Id,
        product: Product,
        count: u32,
    ) -> Result<Master, AuthorityError> {
        let changed = self
            .ledger
            .change_products(id, self.clock.now_ms(), |master| {
                if !product.fits(master.redundancy) {
                    return Err(AuthorityError::Unfit(product, master.redundancy));
                }
                let number = master.products.len() + 1;
                if !(1..=LICENCE_COUNT_MAX).contains(&count) || number > LICENCE_PRODUCTS_MAX {
                    return Err(AuthorityError::Count);
                }
                master.products.push(ProductLicence {
                    id: Id::parse(&format!("{id}-p{number}")).map_err(LedgerError::from)?,
                    product,
                    count,
                });
                Ok(())
            })?;
        changed.ok_or_else(|| AuthorityError::Unknown(id.clone()))?
    }

    /// The master licence of this identifier.
    pub fn master(&self, id: &Id) -> Result<Master, AuthorityError> {
        let master = self.find_master(id)?;
        master.ok_or_else(|| AuthorityError::Unknown(id.clone()))
    }

    /// The same, if it is there.
    pub fn find_master(&self, id: &Id) -> Result<Option<Master>, AuthorityError> {
        Ok(self.ledger.master(id)?)
    }

    /// Master licences, by customer.
    pub fn masters(&self, listed: Listed<'_>) -> Result<Vec<Master>, AuthorityError> {
        Ok(self.ledger.masters(listed)?)
    }

    /// What was issued of a master licence, the latest first.
    pub fn activations(&self, id: &Id) -> Result<Vec<Activation>, AuthorityError> {
        Ok(self.ledger.activations(id)?)
    }

    /// Activates a master licence for these servers, for the first time or again, and gives what is in the ledger then.
    ///
    /// A customer gets the same file again as long as nothing is different, and replaces servers only so often within a year: else
    /// one licence would serve any number of machines, each with a file of its own.
    pub fn activate(
        &self,
        id: &Id,
        installations: &[InstallationId],
        issuer: &Issuer,
    ) -> Result<Activation, AuthorityError> {
        let key = self.signing_key()?;
        let now_ms = self.clock.now_ms();
        let issued = self.ledger.issue(id, |master, before| {
            if let Some(end) = master.valid_until_ms.filter(|end| *end <= now_ms) {
                return Err(AuthorityError::Ended(end));
            }
            let last = before.first();
            let by_customer = matches!(issuer, Issuer::Customer(_));
            // The same servers in another order are nothing new.
            let same = last.filter(|last| by_customer && last.is_for(installations));
            let installations = same.map_or(installations, |last| &last.installations);
            let made = |number: u32, issued_ms: u64| {
                let licence = licence(master, number, installations.to_vec(), issued_ms);
                let text = sign(&licence, &key)?;
                Ok::<_, LicenceError>(Activation {
                    number,
                    installations: licence.installations,
                    issued_ms,
                    issuer: issuer.clone(),
                    text,
                })
            };
            if let Some(same) = same
                && made(same.number, same.issued_ms)?.text == same.text
            {
                return Ok(same.clone());
            }
            let new = made(last.map_or(1, |last| last.number + 1), now_ms)?;
            let replaces = last.is_some_and(|last| new.replaces(last));
            if by_customer && replaces && replacements_left(before, now_ms) == 0 {
                return Err(AuthorityError::Replaced);
            }
            Ok(new)
        })?;
        issued.ok_or_else(|| AuthorityError::Unknown(id.clone()))?
    }

    /// How often a customer may still replace a server, of a licence of which this was issued, the latest first.
    #[must_use]
    pub fn replacements_left(&self, issued: &[Activation]) -> usize {
        replacements_left(issued, self.clock.now_ms())
    }
}

fn replacements_left(issued: &[Activation], now_ms: u64) -> usize {
    let since_ms = now_ms.saturating_sub(CUSTOMER_REPLACEMENTS_MS);
    let by_customer = |two: &&[Activation]| {
        let by_customer = matches!(two[0].issuer, Issuer::Customer(_));
        by_customer && two[0].issued_ms > since_ms && two[0].replaces(&two[1])
    };
    CUSTOMER_REPLACEMENTS_MAX.saturating_sub(issued.windows(2).filter(by_customer).count())
}

/// The name of a customer, as it is compared with others.
fn customer_name(text: &str) -> Result<String, AuthorityError> {
    let name = text.trim();
    if name.is_empty() || name.len() > LICENCE_TEXT_BYTES_MAX || name.chars().any(char::is_control)
    {
        return Err(AuthorityError::Customer);
    }
    Ok(name.to_owned())
}

/// The day of a moment, in UTC.
#[must_use]
pub fn day(moment_ms: u64) -> String {
    let moment = i64::try_from(moment_ms).unwrap_or(i64::MAX);
    let moment = jiff::Timestamp::from_millisecond(moment).unwrap_or(jiff::Timestamp::MAX);
    moment.strftime("%Y-%m-%d").to_string()
}

/// A master licence, as it is activated.
fn licence(
    master: &Master,
    activation: u32,
    installations: Vec<InstallationId>,
    issued_ms: u64,
) -> Licence {
    Licence {
        schema_version: SCHEMA_VERSION,
        id: master.id.clone(),
        activation,
        customer: master.customer.clone(),
        redundancy: master.redundancy,
        installations,
        issued_ms,
        valid_from_ms: master.valid_from_ms,
        valid_until_ms: master.valid_until_ms,
        products: master.products.clone(),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> AuthorityError {
    let path = path.to_owned();
    move |source| AuthorityError::File { path, source }
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), AuthorityError> {
    let mut options = fs::OpenOptions::new();
    let written = || {
        let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        path.parent()
            .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    let mut written = written;
    written().map_err(failed(path))
}
