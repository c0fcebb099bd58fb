//! Who this server is to others: a key of its own, made at the first start, in `keys/`.
//!
//! There are no certificates between the two: each knows the other's public key, or does not speak to it. So nothing ends on a
//! date, and a wrong clock is no reason to be apart.

use core::fmt;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};

use crate::limits::PUBLIC_KEY_BYTES_MAX;

/// The file of the key, in `keys/`.
const FILE: &str = "node.key";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read or written.
    #[error("{path}: {why}; it holds who this server is to the other one")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// None can be made.
    #[error("no key can be made: {0}")]
    Make(#[from] rcgen::Error),
    /// It is of a kind that is not supported.
    #[error("the key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// A public key, as TLS says it (SubjectPublicKeyInfo, DER).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// These octets, if they are not too many. Whether they are a key is seen when it is used.
    #[must_use]
    pub fn of(octets: &[u8]) -> Option<Self> {
        let fits = (1..=PUBLIC_KEY_BYTES_MAX).contains(&octets.len());
        fits.then(|| PublicKey(octets.to_vec()))
    }

    /// The octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What people compare: 32 hexadecimal digits of its hash, in groups.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hash = blake3::hash(&self.0).to_hex();
        let groups = hash.as_bytes()[..32].chunks(4);
        let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
        groups.join("-")
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.0.iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

impl TryFrom<String> for PublicKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.as_bytes().chunks(2);
        let octets = digits.map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        });
        let octets: Option<Vec<u8>> = octets.collect();
        octets
            .and_then(|octets| PublicKey::of(&octets))
            .ok_or("a public key is written in hexadecimal digits")
    }
}

/// The key of this server.
#[derive(Clone, Debug)]
pub struct NodeKey {
    pub(super) certified: Arc<CertifiedKey>,
    public: PublicKey,
}

impl NodeKey {
    /// The key in `folder`; made now, if there is none.
    pub fn open(folder: &Path) -> Result<Self, KeyError> {
        let path = folder.join(FILE);
        if !path.exists() {
            let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
            write_atomically(&path, made.serialize_pem().as_bytes()).map_err(at(&path))?;
        }
        let private = PrivateKeyDer::from_pem_file(&path).map_err(at(&path))?;
        let signing = any_supported_type(&private)?;
        let public = signing.public_key().ok_or_else(|| KeyError::File {
            path: path.display().to_string(),
            why: "it has no public key".into(),
        })?;
        let public = public.as_ref().to_vec();
        let as_certificate = CertificateDer::from(public.clone());
        Ok(NodeKey {
            certified: Arc::new(CertifiedKey::new(vec![as_certificate], signing)),
            public: PublicKey(public),
        })
    }

    /// What others know it by.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

fn at<E: fmt::Display>(path: &Path) -> impl Fn(E) -> KeyError {
    move |why| KeyError::File {
        path: path.display().to_string(),
        why: why.to_string(),
    }
}

/// Writes a file of `keys/`: the old content or the new one, on the disk on return, and nobody else's to read.
pub(super) fn write_atomically(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let next = path.with_extension("next");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&next)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_the_same_and_is_nobody_elses_to_read() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().expect("a folder");
        let first = NodeKey::open(dir.path()).expect("made");
        let again = NodeKey::open(dir.path()).expect("read");
        assert_eq!(first.public(), again.public());
        let mode = fs::metadata(dir.path().join(FILE))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let fingerprint = first.public().fingerprint();
        assert_eq!(fingerprint.len(), 39, "{fingerprint}");
        let text = String::from(first.public().clone());
        assert_eq!(PublicKey::try_from(text).as_ref(), Ok(first.public()));
        let other = tempfile::tempdir().expect("a folder");
        let other = NodeKey::open(other.path()).expect("made");
        assert_ne!(other.public().fingerprint(), fingerprint);
    }
}
