//! TLS: with the operator's certificate, or with one that is made at the first start.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The certificate and the key do not go together, or are of a kind that is not supported.
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// No certificate can be made.
    #[error("no certificate can be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// The certificate chain and the key in these files, both PEM.
pub(super) fn from_files(chain: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |error: rustls::pki_types::pem::Error| TlsError::File {
            path,
            why: error.to_string(),
        }
    };
    let certificates = CertificateDer::pem_file_iter(chain).map_err(wrong(chain))?;
    let certificates = certificates
        .collect::<Result<Vec<_>, _>>()
        .map_err(wrong(chain))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(wrong(key))?;
    // TLS 1.2 and 1.3, with authenticated encryption only: what this provider has.
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()?
        .with_no_client_auth();
    Ok(builder.with_single_cert(certificates, key)?)
}

/// The certificate that is kept in `folder`, for `names`; made now, if there is none.
pub(super) fn generated(folder: &Path, names: &[String]) -> Result<ServerConfig, TlsError> {
    let (chain, key) = (folder.join("admin.crt"), folder.join("admin.key"));
    if !chain.exists() || !key.exists() {
        let made = rcgen::generate_simple_self_signed(names)?;
        // The key first: a certificate without its key would not be made again.
        write(&key, 0o600, &made.signing_key.serialize_pem())?;
        write(&chain, 0o644, &made.cert.pem())?;
    }
    from_files(&chain, &key)
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), TlsError> {
    let failed = |error: std::io::Error| TlsError::File {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let next = path.with_extension("next");
    let _ = fs::remove_file(&next);
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&next)
        .map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    fs::rename(&next, path).map_err(failed)
}
