//! TLS between the two: version 1.3, each side by its raw public key (RFC 7250), no sessions resumed.
//!
//! Which key the other may have is said when a connection is made or accepted: one that is known, or, while a pairing code is
//! shown, any. In either case the other proves that it has the private key; for a pairing, what follows proves the code.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName,
    Error, ServerConfig, SignatureScheme,
};

use super::key::{NodeKey, PublicKey};

/// What the names of all protocols between two servers begin with, in every version.
pub(super) const PROTOCOLS: &[u8] = b"daybreak-";

/// What a connection is for, as the two agree on it in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Synchronization.
    Link,
    /// Synchronization with one that was replaced, and may not know it: that it hears so, and hands over what only it knows.
    Replaced,
    /// Making a pair.
    Pairing,
    /// Making this server the same as the other, by hand.
    Manual,
    /// Making the other server the same as this one, by hand.
    Overwrite,
    /// Making two servers known to each other for that alone.
    Listing,
}

impl Purpose {
    /// Every one.
    pub(super) const ALL: [Purpose; 6] = [
        Purpose::Link,
        Purpose::Replaced,
        Purpose::Pairing,
        Purpose::Manual,
        Purpose::Overwrite,
        Purpose::Listing,
    ];

    pub(super) const fn protocol(self) -> &'static [u8] {
        match self {
            Purpose::Link => b"daybreak-link/1",
            Purpose::Replaced => b"daybreak-replaced/1",
            Purpose::Pairing => b"daybreak-pairing/1",
            Purpose::Manual => b"daybreak-manual/1",
            Purpose::Overwrite => b"daybreak-overwrite/1",
            Purpose::Listing => b"daybreak-listing/1",
        }
    }

    /// The names of it that are spoken, the best first.
    fn protocols(self) -> Vec<Vec<u8>> {
        let better = (self == Purpose::Link).then_some(LINK_AND_SIGHTINGS);
        let all = better.into_iter().chain([self.protocol()]);
        all.map(<[u8]>::to_vec).collect()
    }
}

/// A link on which both also tell each other who was seen. Whoever speaks it offers the plain one, too, which is what an older server takes.
const LINK_AND_SIGHTINGS: &[u8] = b"daybreak-link+seen/1";

/// Whether the other one listens to who was seen here, by the protocol that both have agreed on.
pub(super) fn listens(agreed: Option<&[u8]>) -> bool {
    agreed == Some(LINK_AND_SIGHTINGS)
}

/// Which key the other may have.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    /// One of these.
    Known(Vec<PublicKey>),
    /// Whichever: for a pairing.
    Any,
}

/// Whether the handshake has failed because the other one speaks none of the protocols that were offered: it is a server of
/// another version.
pub(super) fn is_other_version(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(
        inner,
        Some(
            Error::AlertReceived(AlertDescription::NoApplicationProtocol)
                | Error::NoApplicationProtocol
        )
    )
}

/// The name that a client says; the key alone tells who a server is.
pub(super) fn server_name() -> ServerName<'static> {
    ServerName::try_from("peer.daybreak.invalid").expect("a name")
}

/// For the side that connects.
pub(super) fn client(
    key: &NodeKey,
    trust: Trust,
    purpose: Purpose,
) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier::new(trust, &provider));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous() // it is only called so: the verifier knows the key
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
            Arc::clone(&key.certified),
        )));
    config.resumption = Resumption::disabled();
    config.alpn_protocols = purpose.protocols();
    Ok(Arc::new(config))
}

/// For the side that accepts.
pub(super) fn server(
    key: &NodeKey,
    trust: Trust,
    purpose: Purpose,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier::new(trust, &provider));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
            Arc::clone(&key.certified),
        )));
    config.send_tls13_tickets = 0;
    config.alpn_protocols = purpose.protocols();
    Ok(Arc::new(config))
}

/// The key that the other has shown in the handshake.
pub(super) fn key_of(certificates: Option<&[CertificateDer<'_>]>) -> Option<PublicKey> {
    match certificates {
        Some([key]) => PublicKey::of(key.as_ref()),
        _ => None,
    }
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(trust: Trust, provider: &CryptoProvider) -> Self {
        Verifier {
            trust,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn check(&self, key: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        let refused = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        if !more.is_empty() {
            return Err(refused);
        }
        match &self.trust {
            Trust::Any => Ok(()),
            Trust::Known(keys) if keys.iter().any(|known| known.as_bytes() == key.as_ref()) => {
                Ok(())
            }
            Trust::Known(_) => Err(refused),
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }
}

fn no_older_version() -> Error {
    Error::General("only TLS 1.3 is spoken".into())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_older_version())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_older_version())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use rustls::version::TLS12;
    use rustls::{ClientConnection, ServerConnection};

    use super::*;

    /// What the server makes of everything that this client says; and whether each listens, in the end.
    fn shake_hands(
        client: Arc<ClientConfig>,
        server: Arc<ServerConfig>,
    ) -> Result<[bool; 2], Error> {
        let mut client = ClientConnection::new(client, server_name())?;
        let mut server = ServerConnection::new(server)?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).expect("memory");
            }
            server.read_tls(&mut &wire[..]).expect("memory");
            server.process_new_packets()?;
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire).expect("memory");
            }
            client.read_tls(&mut &wire[..]).expect("memory");
            client.process_new_packets()?;
        }
        Ok([
            listens(client.alpn_protocol()),
            listens(server.alpn_protocol()),
        ])
    }

    #[test]
    fn who_was_seen_is_told_between_two_that_listen_and_an_older_server_is_linked_as_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = NodeKey::open(folder.path()).expect("a key");
        let older = || vec![b"daybreak-link/1".to_vec()];
        for (ours, theirs, both_listen) in [
            (false, false, true),
            (true, false, false),
            (false, true, false),
        ] {
            let mut client = client(&key, Trust::Any, Purpose::Link).expect("TLS");
            let mut server = server(&key, Trust::Any, Purpose::Link).expect("TLS");
            if ours {
                Arc::make_mut(&mut client).alpn_protocols = older();
            }
            if theirs {
                Arc::make_mut(&mut server).alpn_protocols = older();
            }
            assert_eq!(shake_hands(client, server), Ok([both_listen; 2]));
        }
        // Nor does one listen that is met for another purpose.
        for purpose in Purpose::ALL.into_iter().filter(|one| *one != Purpose::Link) {
            let client = client(&key, Trust::Any, purpose).expect("TLS");
            let server = server(&key, Trust::Any, purpose).expect("TLS");
            assert_eq!(shake_hands(client, server), Ok([false; 2]));
        }
    }

    #[test]
    fn who_speaks_only_an_older_tls_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = NodeKey::open(folder.path()).expect("a key");
        let server = server(&key, Trust::Any, Purpose::Link).expect("TLS");
        let modern = client(&key, Trust::Any, Purpose::Link).expect("TLS");
        assert_eq!(shake_hands(modern, Arc::clone(&server)), Ok([true; 2]));
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(Verifier::new(Trust::Any, &provider));
        let old = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS12])
            .expect("it is known")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        let refused = shake_hands(Arc::new(old), server);
        assert!(
            matches!(refused, Err(Error::PeerIncompatible(_))),
            "{refused:?}"
        );
    }
}
