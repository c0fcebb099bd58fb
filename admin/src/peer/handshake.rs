//! Making connections between the two servers, and telling who is at the other end before anything of it is read.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};

use super::key::{NodeKey, PublicKey};
use super::pairing::{
    Channel, Code, INCOMPATIBLE, Introduction, PairingError, Prover, exported, read_introduction,
    send_introduction,
};
use super::tls::{self, Purpose, Trust, key_of};
use crate::limits::{PAIRING_TRIES_MAX, PEER_HANDSHAKE_WAIT};

/// A safe connection to a server whose key is known.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What a handshake has led to.
pub(super) enum Established {
    /// A connection to the other server.
    Link {
        key: PublicKey,
        stream: Box<dyn Stream>,
        /// It listens to who was seen here.
        listens: bool,
    },
    /// A connection to one that was replaced.
    Replaced {
        key: PublicKey,
        stream: Box<dyn Stream>,
    },
    /// The other server wants to be made the same as this one, and asks.
    Manual { stream: Box<dyn Stream> },
    /// Another server orders this one to be made the same as itself.
    Overwrite {
        key: PublicKey,
        stream: Box<dyn Stream>,
    },
    /// Somebody has proved to have the code. Who is told `true` by `kept` is paired.
    Paired {
        key: PublicKey,
        address: IpAddr,
        introduction: Introduction,
        tie: Tie,
        kept: oneshot::Sender<bool>,
    },
    /// The other server cannot be connected to.
    Failed(String),
}

/// What two servers become by a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// A pair, which is kept the same.
    Pair,
    /// Known to each other, for synchronization by hand.
    Listed,
}

impl Tie {
    const fn purpose(self) -> Purpose {
        match self {
            Tie::Pair => Purpose::Pairing,
            Tie::Listed => Purpose::Listing,
        }
    }
}

/// A code that is shown.
pub(super) struct Offer {
    tie: Tie,
    pub(super) code: Code,
    pub(super) until: tokio::time::Instant,
    pub(super) until_ms: u64,
    tries_left: u32,
}

/// The code that is shown now, if one is.
#[derive(Clone, Default)]
pub(super) struct Shown(Arc<Mutex<Option<Offer>>>);

impl Shown {
    pub(super) fn show(
        &self,
        (code, tie): (Code, Tie),
        until: tokio::time::Instant,
        until_ms: u64,
    ) {
        self.put(Some(Offer {
            tie,
            code,
            until,
            until_ms,
            tries_left: PAIRING_TRIES_MAX,
        }));
    }

    pub(super) fn take_away(&self) {
        self.put(None);
    }

    fn put(&self, offer: Option<Offer>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = offer;
    }

    /// Until when one is shown.
    pub(super) fn until(&self) -> Option<(tokio::time::Instant, u64)> {
        let offer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        offer.as_ref().map(|offer| (offer.until, offer.until_ms))
    }

    /// What whoever has the code becomes by it.
    fn tie(&self) -> Option<Tie> {
        let offer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        offer.as_ref().map(|offer| offer.tie)
    }

    /// The code, if this is what whoever has it says in this channel. It is valid once, and after too many wrong tries no more.
    fn redeem(&self, channel: &Channel, proof: [u8; 32]) -> Option<Code> {
        let mut offer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = tokio::time::Instant::now();
        let valid = offer.as_mut().filter(|offer| now < offer.until)?;
        // Compared in constant time.
        if channel.proof(&valid.code, Prover::Joiner) == blake3::Hash::from_bytes(proof) {
            return offer.take().map(|offer| offer.code);
        }
        valid.tries_left -= 1;
        if valid.tries_left == 0 {
            tracing::warn!("the pairing code was tried too often and is not valid any more");
            *offer = None;
        }
        None
    }
}

/// What an accepted connection needs to know.
pub(super) struct Reception {
    pub(super) key: NodeKey,
    /// The other server, and those that were replaced.
    pub(super) partner: Option<PublicKey>,
    pub(super) replaced: Vec<PublicKey>,
    /// Those that are known for manual synchronization.
    pub(super) listed: Vec<PublicKey>,
    pub(super) shown: Shown,
    pub(super) introduction: Introduction,
    pub(super) established: mpsc::Sender<Established>,
}

impl Reception {
    /// Goes through the handshake of a connection that was accepted, or drops it.
    pub(super) async fn receive(self, stream: TcpStream) {
        let address = stream.peer_addr().map(|address| address.ip());
        let Ok(Ok(outcome)) =
            tokio::time::timeout(PEER_HANDSHAKE_WAIT, self.shake_hands(stream)).await
        else {
            let from = address.map_or_else(|_| String::new(), |address| address.to_string());
            return tracing::debug!(from, "a connection was no other server's");
        };
        if let Some(outcome) = outcome {
            let _ = self.established.send(outcome).await;
        }
    }

    /// Nothing, if all that was to be done is done.
    async fn shake_hands(&self, stream: TcpStream) -> Result<Option<Established>, PairingError> {
        stream.set_nodelay(true)?;
        let address = stream.peer_addr()?.ip();
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let purpose = {
            let hello = start.client_hello();
            let said: Vec<&[u8]> = hello.alpn().into_iter().flatten().collect();
            let mut purposes = Purpose::ALL.into_iter();
            let named = purposes.find(|purpose| said.contains(&purpose.protocol()));
            let ours = said.iter().any(|said| said.starts_with(tls::PROTOCOLS));
            (named.is_some() || !ours).then_some(named.unwrap_or(Purpose::Link))
        };
        let Some(purpose) = purpose else {
            // A server of another version: TLS says so by an alert of its own, whoever it is.
            let config = tls::server(&self.key, Trust::Known(Vec::new()), Purpose::Link)?;
            start.into_stream(config).await?;
            return Err(PairingError::Version);
        };
        if !matches!(purpose, Purpose::Pairing | Purpose::Listing) {
            let mut known: Vec<PublicKey> = self.partner.iter().cloned().collect();
            // Whoever was replaced may not know it, and connects as it always did.
            known.extend(match purpose {
                Purpose::Link => self.replaced.clone(),
                Purpose::Manual | Purpose::Overwrite => self.listed.clone(),
                _ => Vec::new(),
            });
            if known.is_empty() {
                return Err(PairingError::Refused);
            }
            let trust = Trust::Known(known);
            let config = tls::server(&self.key, trust, purpose)?;
            let stream = start.into_stream(config).await?;
            let key = key_of(stream.get_ref().1.peer_certificates());
            let key = key.ok_or(PairingError::Malformed)?;
            let listens = tls::listens(stream.get_ref().1.alpn_protocol());
            let stream = Box::new(stream);
            return Ok(Some(match purpose {
                Purpose::Manual => Established::Manual { stream },
                Purpose::Overwrite => Established::Overwrite { key, stream },
                _ if Some(&key) == self.partner.as_ref() => Established::Link {
                    key,
                    stream,
                    listens,
                },
                _ => Established::Replaced { key, stream },
            }));
        }
        let tie = self.shown.tie().filter(|tie| tie.purpose() == purpose);
        let tie = tie.ok_or(PairingError::Refused)?;
        let config = tls::server(&self.key, Trust::Any, purpose)?;
        let mut stream = start.into_stream(config).await?;
        let connection = stream.get_ref().1;
        let key = key_of(connection.peer_certificates()).ok_or(PairingError::Malformed)?;
        let channel = Channel {
            exported: exported(connection)?,
            joiner: key.clone(),
            shower: self.key.public().clone(),
        };
        let mut proof = [0; 32];
        stream.read_exact(&mut proof).await?;
        let code = self.shown.redeem(&channel, proof);
        let code = code.ok_or(PairingError::Refused)?;
        let proof = channel.proof(&code, Prover::Shower);
        stream.write_all(proof.as_bytes()).await?;
        send_introduction(&mut stream, &self.introduction).await?;
        let introduction = read_introduction(&mut stream).await?;
        let (kept, is_kept) = oneshot::channel();
        let paired = Established::Paired {
            key,
            address,
            introduction,
            tie,
            kept,
        };
        let established = self.established.clone();
        established
            .send(paired)
            .await
            .map_err(|_| PairingError::Ending)?;
        if is_kept.await != Ok(true) {
            return Err(PairingError::Kept("it was not written".into()));
        }
        stream.write_all(&[1]).await?;
        stream.shutdown().await?;
        Ok(None)
    }
}

/// Connects to the other server.
pub(super) async fn dial(key: NodeKey, partner: PublicKey, address: String) -> Established {
    match connected(&key, &partner, &address, Purpose::Link).await {
        Ok(stream) => Established::Link {
            key: partner,
            listens: tls::listens(stream.get_ref().1.alpn_protocol()),
            stream: Box::new(stream),
        },
        Err(error) => Established::Failed(error.to_string()),
    }
}

/// Why there is no connection to the other server.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unconnected {
    /// It is there, and of another version.
    #[error("{0}: {INCOMPATIBLE}")]
    Version(String),
    /// Anything else.
    #[error("{0}: {1}")]
    Other(String, String),
}

/// Connects to the other server, for this purpose.
pub(super) async fn connect(
    key: &NodeKey,
    partner: &PublicKey,
    address: &str,
    purpose: Purpose,
) -> Result<Box<dyn Stream>, Unconnected> {
    let stream = connected(key, partner, address, purpose).await?;
    Ok(Box::new(stream))
}

async fn connected(
    key: &NodeKey,
    partner: &PublicKey,
    address: &str,
    purpose: Purpose,
) -> Result<TlsStream<TcpStream>, Unconnected> {
    let other = |why: &dyn core::fmt::Display| Unconnected::Other(address.into(), why.to_string());
    let dialing = async {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| other(&error))?;
        stream.set_nodelay(true).map_err(|error| other(&error))?;
        let trust = Trust::Known(vec![partner.clone()]);
        let config = tls::client(key, trust, purpose).map_err(|error| other(&error))?;
        let connecting = TlsConnector::from(config).connect(tls::server_name(), stream);
        connecting.await.map_err(|error| match &error {
            error if tls::is_other_version(error) => Unconnected::Version(address.into()),
            error => other(&format!(
                "what answers there is not the other server of this pair ({error})"
            )),
        })
    };
    let dialed = tokio::time::timeout(PEER_HANDSHAKE_WAIT, dialing).await;
    dialed.map_err(|_| other(&"no answer"))?
}

/// Proves to the server at `address` to have the code that it shows, and is told who that is.
pub(super) async fn join(
    key: &NodeKey,
    address: &str,
    (code, tie): (&Code, Tie),
    introduction: &Introduction,
) -> Result<(PublicKey, Introduction), PairingError> {
    let joining = async {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| PairingError::Unreachable {
            address: address.to_owned(),
            why: error.to_string(),
        })?;
        stream.set_nodelay(true)?;
        let config = tls::client(key, Trust::Any, tie.purpose())?;
        let connecting = TlsConnector::from(config).connect(tls::server_name(), stream);
        let connected = connecting.await.map_err(|error| {
            // A server that shows no code ends the handshake.
            match tls::is_other_version(&error) {
                true => PairingError::Version,
                false => PairingError::Refused,
            }
        });
        let mut stream = connected?;
        let connection = stream.get_ref().1;
        let other = key_of(connection.peer_certificates()).ok_or(PairingError::Malformed)?;
        if other == *key.public() {
            return Err(PairingError::Itself);
        }
        let channel = Channel {
            exported: exported(connection)?,
            joiner: key.public().clone(),
            shower: other.clone(),
        };
        let proof = channel.proof(code, Prover::Joiner);
        stream.write_all(proof.as_bytes()).await?;
        stream.flush().await?;
        let mut proof = [0; 32];
        let answer = stream.read_exact(&mut proof).await;
        answer.map_err(|_| PairingError::Refused)?;
        if channel.proof(code, Prover::Shower) != blake3::Hash::from_bytes(proof) {
            return Err(PairingError::Impostor);
        }
        let theirs = read_introduction(&mut stream).await?;
        send_introduction(&mut stream, introduction).await?;
        if stream.read_u8().await? != 1 {
            return Err(PairingError::Malformed);
        }
        Ok((other, theirs))
    };
    tokio::time::timeout(PEER_HANDSHAKE_WAIT, joining)
        .await
        .map_err(|_| PairingError::TooSlow(PEER_HANDSHAKE_WAIT))?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tokio::time::Instant;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::edge::Machine;
    use crate::peer::pair::Role;

    fn key() -> NodeKey {
        let folder = tempfile::tempdir().expect("a folder");
        NodeKey::open(folder.path()).expect("a key")
    }

    fn introduction() -> Introduction {
        Introduction {
            name: "a".into(),
            port: 1,
            role: Role::Primary,
            epoch: 0,
            replaces: false,
        }
    }

    fn run<F: Future>(work: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(work)
    }

    #[test]
    fn a_code_is_valid_until_its_time_and_once() {
        let channel = Channel {
            exported: [1; 32],
            joiner: key().public().clone(),
            shower: key().public().clone(),
        };
        let code = Code::new(&Machine);
        let proof = *channel.proof(&code, Prover::Joiner).as_bytes();
        let shown = Shown::default();
        let show = |until| shown.show((code.clone(), Tie::Pair), until, 0);
        show(Instant::now());
        assert_eq!(shown.redeem(&channel, proof), None, "it is too old");
        show(Instant::now() + Duration::from_secs(600));
        assert_eq!(shown.redeem(&channel, [0; 32]), None);
        assert_eq!(shown.redeem(&channel, proof), Some(code.clone()));
        assert_eq!(shown.redeem(&channel, proof), None, "it was used");
    }

    #[test]
    fn s14_a_server_of_another_version_that_connects_is_told_so_whoever_it_is() {
        run(async {
            let (ours, theirs) = (key(), key());
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            for protocol in ["daybreak-pairing/2", "daybreak-manual/9", "daybreak-link/2"] {
                let config = tls::client(&theirs, Trust::Any, Purpose::Pairing).expect("TLS");
                let mut config = (*config).clone();
                config.alpn_protocols = vec![protocol.into()];
                let reception = Reception {
                    key: ours.clone(),
                    partner: None,
                    replaced: Vec::new(),
                    listed: Vec::new(),
                    shown: Shown::default(),
                    introduction: introduction(),
                    established: mpsc::channel(1).0,
                };
                let receiving = async {
                    let (stream, _) = listener.accept().await.expect("a connection");
                    reception.receive(stream).await;
                };
                let dialing = async {
                    let stream = TcpStream::connect(address).await.expect("connected");
                    let connector = TlsConnector::from(Arc::new(config));
                    connector.connect(tls::server_name(), stream).await
                };
                let ((), connected) = tokio::join!(receiving, dialing);
                let error = connected.expect_err("there is no such version here");
                assert!(tls::is_other_version(&error), "{protocol}: {error}");
            }
        });
    }

    #[test]
    fn s14_who_connects_to_a_server_of_another_version_is_told_so() {
        run(async {
            let (ours, theirs) = (key(), key());
            let config = tls::server(&theirs, Trust::Any, Purpose::Pairing).expect("TLS");
            let mut config = (*config).clone();
            config.alpn_protocols = vec![b"daybreak-pairing/2".to_vec()];
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address").to_string();
            let accepting = async {
                for _ in 0..2 {
                    let (stream, _) = listener.accept().await.expect("a connection");
                    assert!(acceptor.accept(stream).await.is_err());
                }
            };
            let connecting = async {
                let (code, introduction) = (Code::new(&Machine), introduction());
                let joined = join(&ours, &address, (&code, Tie::Pair), &introduction).await;
                let manual = connect(&ours, theirs.public(), &address, Purpose::Manual).await;
                (joined, manual)
            };
            let ((), (joined, manual)) = tokio::join!(accepting, connecting);
            assert!(matches!(joined, Err(PairingError::Version)), "{joined:?}");
            assert!(matches!(manual, Err(Unconnected::Version(_))));
        });
    }
}
