//! The engine's metrics, which it tells on loopback. The one connection that the administration makes: to an address that its
//! operator gave, never to one of a request. Slow: where waiting is allowed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use crate::limits::{ENGINE_METRICS_BYTES_MAX, ENGINE_WAIT};

/// The text of the engine's metrics now.
pub(super) fn metrics(address: SocketAddr) -> io::Result<String> {
    let deadline = Instant::now() + ENGINE_WAIT;
    let mut stream = TcpStream::connect_timeout(&address, ENGINE_WAIT)?;
    stream.set_write_timeout(Some(ENGINE_WAIT))?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => break,
            count => answer.extend_from_slice(&buffer[..count]),
        }
        if answer.len() as u64 > ENGINE_METRICS_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    text_of(&answer).ok_or_else(|| io::Error::other("this is not the engine's metrics"))
}

/// The body, if it is whole.
fn text_of(answer: &[u8]) -> Option<String> {
    let answer = core::str::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let well = head.starts_with("HTTP/1.1 200 ") && body.ends_with("# EOF\n");
    (well && body.contains("daybreak_engine")).then(|| body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_of_an_engine_counts() {
        let good = "HTTP/1.1 200 OK\r\nA: b\r\n\r\ndaybreak_engine_x 1\n# EOF\n";
        assert_eq!(
            text_of(good.as_bytes()).as_deref(),
            Some("daybreak_engine_x 1\n# EOF\n")
        );
        for other in [
            "",
            "HTTP/1.1 404 Not Found\r\n\r\ndaybreak_engine_x 1\n# EOF\n",
            "HTTP/1.1 200 OK\r\n\r\ndaybreak_engine_x 1\n",
            "HTTP/1.1 200 OK\r\n\r\nother_x 1\n# EOF\n",
            "HTTP/1.1 200 OK\r\n",
        ] {
            assert_eq!(text_of(other.as_bytes()), None, "{other}");
        }
    }
}
