//! The licence authority of a vendor: signing keys, master licences, activations, and a ledger of what was issued.
//!
//! It works offline: a customer sends Installation IDs, and gets one file back. A directory holds everything: `keys/<id>.key` (the secret,
//! 0600) with `keys/<id>.pub` beside it, which is given to customers, and `ledger.db`. What is signed was written into the ledger before.

mod ledger;

pub use ledger::{Activation, LedgerError, Master};

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::SigningKey;

use self::ledger::Ledger;
use crate::edge::{Clock, Entropy, random};
use crate::licensing::{
    InstallationId, KeyId, Licence, LicenceError, Product, ProductLicence, Redundancy,
    SCHEMA_VERSION, VendorKeys, sign,
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
        let name = format!("lic-{}", hex(&random::<6>(&*self.entropy)));
        let master = Master {
            id: Id::parse(&name).expect("letters and digits"),
            customer: customer.to_owned(),
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
        self.ledger.put_master(&master, now_ms)?;
        Ok(master)
    }

    /// Adds a product licence to a master licence. It takes effect with the next activation.
    pub fn add_product(
        &self,
        id: &Id,
        product: Product,
        count: u32,
    ) -> Result<Master, AuthorityError> {
        let mut master = self.master(id)?;
        if !product.fits(master.redundancy) {
            return Err(AuthorityError::Unfit(product, master.redundancy));
        }
        let number = master.products.len() + 1;
        master.products.push(ProductLicence {
            id: Id::parse(&format!("{id}-p{number}")).map_err(LedgerError::from)?,
            product,
            count,
        });
        if !(1..=crate::limits::LICENCE_COUNT_MAX).contains(&count)
            || number > crate::limits::LICENCE_PRODUCTS_MAX
        {
            let why = "a product licence counts 1 to 1000000, and a master licence has 32 at most";
            return Err(LicenceError::Payload(why.into()).into());
        }
        self.ledger.put_master(&master, self.clock.now_ms())?;
        Ok(master)
    }

    /// The master licence of this identifier.
    pub fn master(&self, id: &Id) -> Result<Master, AuthorityError> {
        let master = self.ledger.master(id)?;
        master.ok_or_else(|| AuthorityError::Unknown(id.clone()))
    }

    /// Every master licence; of one customer, if one is named.
    pub fn masters(&self, customer: Option<&str>) -> Result<Vec<Master>, AuthorityError> {
        let mut masters = self.ledger.masters()?;
        masters.retain(|master| customer.is_none_or(|customer| master.customer == customer));
        Ok(masters)
    }

    /// What was issued of a master licence, the latest first.
    pub fn activations(&self, id: &Id) -> Result<Vec<Activation>, AuthorityError> {
        Ok(self.ledger.activations(id)?)
    }

    /// Activates a master licence for these servers, for the first time or again, and gives the text of the file.
    pub fn activate(
        &self,
        id: &Id,
        installations: &[InstallationId],
    ) -> Result<Activation, AuthorityError> {
        let master = self.master(id)?;
        let key = self.signing_key()?;
        let issued_ms = self.clock.now_ms();
        let issued = self.ledger.issue(id, |number| {
            let licence = licence(&master, number, installations.to_vec(), issued_ms);
            let text = sign(&licence, &key)?;
            Ok::<_, LicenceError>(Activation {
                number,
                installations: licence.installations,
                issued_ms,
                text,
            })
        });
        issued?.map_err(Into::into)
    }
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
