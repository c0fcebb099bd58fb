//! A connection to the other server, once both are known to each other: messages in, messages out, each way a task of its own.
//!
//! Both queues are short: who does not read is waited for, not kept for. What arrives is cut into messages before anything
//! looks at it; a length that lies ends the connection.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use daybreak_sync::wire::Frames;

use crate::limits::{
    LINK_LAST_WORDS, LINK_MESSAGES_IN, LINK_MESSAGES_OUT, LINK_READ_BYTES, LINK_WRITE_WAIT,
};

/// What comes of a connection.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A whole message.
    Message(Vec<u8>),
    /// It is over, and why.
    Ended(String),
}

/// See the module.
pub(super) struct Connection {
    pub(super) incoming: mpsc::Receiver<Incoming>,
    pub(super) outgoing: mpsc::Sender<Vec<u8>>,
    reader: JoinHandle<()>,
}

impl Connection {
    /// Begins to read and to write. Within a runtime.
    pub(super) fn start(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (from, to) = tokio::io::split(stream);
        let (arrived, incoming) = mpsc::channel(LINK_MESSAGES_IN);
        let (outgoing, due) = mpsc::channel(LINK_MESSAGES_OUT);
        let ended = arrived.clone();
        tokio::spawn(async move {
            if let Err(error) = write(to, due).await {
                // A server that does not speak to this one says so and reads nothing: that is still to be heard. When all that came has
                // been read, the reader says the end, and nobody listens to this one any more.
                let _ = tokio::time::timeout(LINK_LAST_WORDS, ended.closed()).await;
                let _ = ended.send(Incoming::Ended(error.to_string())).await;
            }
        });
        let reader = tokio::spawn(async move {
            let why = match read(from, &arrived).await {
                Ok(()) => "the other server closed the connection".to_owned(),
                Err(why) => why,
            };
            let _ = arrived.send(Incoming::Ended(why)).await;
        });
        Connection {
            incoming,
            outgoing,
            reader,
        }
    }
}

impl Drop for Connection {
    /// What was given to be sent is still sent; nothing more is read.
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read<S: AsyncRead>(
    mut from: ReadHalf<S>,
    arrived: &mpsc::Sender<Incoming>,
) -> Result<(), String> {
    let mut frames = Frames::default();
    let mut buf = vec![0; LINK_READ_BYTES];
    loop {
        let count = from
            .read(&mut buf)
            .await
            .map_err(|error| error.to_string())?;
        if count == 0 {
            return Ok(());
        }
        frames.push(&buf[..count]);
        while let Some(message) = frames.pop().map_err(|error| error.to_string())? {
            if arrived.send(Incoming::Message(message)).await.is_err() {
                return Ok(());
            }
        }
    }
}

async fn write<S: AsyncWrite>(
    mut to: WriteHalf<S>,
    mut due: mpsc::Receiver<Vec<u8>>,
) -> std::io::Result<()> {
    while let Some(message) = due.recv().await {
        let sending = async {
            to.write_all(&message).await?;
            if due.is_empty() {
                to.flush().await?;
            }
            Ok(())
        };
        tokio::time::timeout(LINK_WRITE_WAIT, sending)
            .await
            .map_err(std::io::Error::from)
            .flatten()?;
    }
    to.shutdown().await
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use daybreak_sync::policy::Refusal;
    use daybreak_sync::wire::Message;
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn what_the_other_server_said_last_is_heard_also_where_it_reads_nothing_any_more() {
        let said = Message::Refuse(Refusal::Off).encode(1);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut other, _) = listener.accept().unwrap();
        other.write_all(&said).unwrap();
        drop(other);
        let mut connection = Connection::start(stream);
        // The first of them is answered by a reset, so the others fail.
        for _ in 0..LINK_MESSAGES_OUT {
            connection.outgoing.try_send(said.clone()).unwrap();
        }
        let Some(Incoming::Message(heard)) = connection.incoming.recv().await else {
            panic!("it was not heard");
        };
        assert_eq!(heard, said);
        let ended = connection.incoming.recv().await;
        assert!(matches!(ended, Some(Incoming::Ended(_))), "{ended:?}");
    }
}
