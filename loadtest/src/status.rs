//! Reporting a terminal's status, as its software does: the datagram of `docs/protocol.md`, sent and answered.
//!
//! [`Reporter`] keeps what a terminal must keep (its key and its counter) and decides; [`report`] sends over a socket,
//! repeats what is lost, and counts on from where the engine says.

use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use daybreak_tftp::status::{
    Content, DATAGRAM_BYTES, PORT, Packet, Report, Repr, Stage, Tag, Verdict,
};

use crate::limits::{STATUS_PATIENCE, STATUS_TRIES};

/// What a terminal keeps in order to report.
#[derive(Clone, Debug)]
pub struct Reporter {
    mac: [u8; 6],
    key: [u8; 32],
    counter: u64,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The report was taken.
    Taken,
    /// It was not: report again.
    Again,
}

impl Reporter {
    /// Of the terminal with this card and key. Its counter goes on after `counter`: milliseconds since 1970, if it has a clock.
    #[must_use]
    pub fn new(mac: [u8; 6], key: [u8; 32], counter: u64) -> Self {
        Reporter { mac, key, counter }
    }

    /// The next report. No two are the same.
    pub fn next(&mut self, report: Report) -> [u8; DATAGRAM_BYTES] {
        self.counter = self.counter.saturating_add(1);
        let repr = Repr {
            mac: self.mac,
            counter: self.counter,
            content: Content::Report(report),
        };
        repr.emit(|signed| self.tag(signed))
    }

    /// Takes an answer; `None`: it is none of an engine that knows the key, or of an earlier report.
    pub fn answered(&mut self, datagram: &[u8]) -> Option<Answered> {
        let packet = Packet::parse(datagram).ok()?;
        if blake3::Hash::from_bytes(padded(self.tag(packet.signed())))
            != blake3::Hash::from_bytes(padded(packet.tag()))
        {
            return None;
        }
        match Repr::parse(&packet).ok()? {
            Repr {
                counter,
                content: Content::Answer(verdict),
                ..
            } if packet.mac() == self.mac => match verdict {
                Verdict::Taken => (counter == self.counter).then_some(Answered::Taken),
                Verdict::Stale if counter >= self.counter => {
                    self.counter = counter;
                    Some(Answered::Again)
                }
                Verdict::Stale => None,
            },
            _ => None,
        }
    }

    fn tag(&self, signed: &[u8]) -> Tag {
        let hash = blake3::keyed_hash(&self.key, signed);
        *hash.as_bytes().first_chunk().expect("32 octets")
    }
}

fn padded(tag: Tag) -> [u8; 32] {
    let mut octets = [0; 32];
    octets[..tag.len()].copy_from_slice(&tag);
    octets
}

/// Reports to an engine until it has answered that the report was taken.
///
/// # Errors
/// No answer in time, or no socket.
pub fn report(reporter: &mut Reporter, engine: SocketAddr, report: Report) -> Result<()> {
    let any = if engine.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).context("no socket")?;
    socket.connect(engine).context("no way to the engine")?;
    socket.set_read_timeout(Some(STATUS_PATIENCE))?;
    let mut answer = [0; DATAGRAM_BYTES + 1];
    for _ in 0..STATUS_TRIES {
        // An engine that is not there refuses, and may be there at the next try.
        let _ = socket.send(&reporter.next(report));
        while let Ok(len) = socket.recv(&mut answer) {
            match reporter.answered(&answer[..len]) {
                Some(Answered::Taken) => return Ok(()),
                Some(Answered::Again) => break,
                None => {}
            }
        }
    }
    bail!(
        "{engine} has not answered: either no engine takes status reports there, or it does not know the card, or the key is \
         another (terminals/<mac>.json has it under status.key)"
    )
}

/// Reports the status of a terminal to an engine, once, as the terminal's own software does.
#[derive(Debug, Parser)]
#[command(name = "status")]
pub struct StatusArgs {
    /// The engine
    #[arg(long, value_name = "ADDR[:PORT]")]
    pub server: String,
    /// The terminal's configuration file: its card and its key are taken from there
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mac", "key"])]
    pub configuration: Option<PathBuf>,
    /// The terminal's network card, as 52:54:00:12:34:56
    #[arg(long, requires = "key", required_unless_present = "configuration")]
    pub mac: Option<String>,
    /// The terminal's key, in hexadecimal
    #[arg(long, requires = "mac")]
    pub key: Option<String>,
    /// How far it is: starting, loading, connecting, running, stopping or failed
    #[arg(long, default_value = "running")]
    pub stage: String,
    /// Sessions that it has open
    #[arg(long, default_value_t = 0)]
    pub sessions: u16,
    /// How long it runs, in seconds
    #[arg(long, default_value_t = 0)]
    pub uptime: u32,
    /// Within how many seconds it will report again; without that, its light turns red after twice the time
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    pub interval: u16,
}

/// Runs `status`; the exit status.
///
/// # Errors
/// What was typed has no meaning, or nobody answered.
pub fn run(args: &StatusArgs) -> Result<u8> {
    let (mac, key) = match &args.configuration {
        Some(path) => {
            let text =
                std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            let file: serde_json::Value =
                serde_json::from_slice(&text).context("the configuration is not JSON")?;
            let part = |value: &serde_json::Value| value.as_str().map(str::to_owned);
            let mac = part(&file["mac"]).context("the configuration has no mac")?;
            let key =
                part(&file["status"]["key"]).context("the configuration has no status.key")?;
            (mac, key)
        }
        None => (
            args.mac.clone().context("--mac is missing")?,
            args.key.clone().context("--key is missing")?,
        ),
    };
    let stage = stage(&args.stage)?;
    let mac = hexadecimal(&mac.replace([':', '-'], "")).context("--mac is six pairs of digits")?;
    let key = hexadecimal(&key).context("--key is 64 hexadecimal digits")?;
    let engine = engine(&args.server)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.unwrap_or(Duration::ZERO).as_millis();
    let mut reporter = Reporter::new(mac, key, u64::try_from(now).unwrap_or(0));
    let said = Report {
        stage,
        sessions: args.sessions,
        uptime_s: args.uptime,
        interval_s: args.interval,
    };
    report(&mut reporter, engine, said)?;
    println!("{engine} has taken the report");
    Ok(0)
}

fn stage(word: &str) -> Result<Stage> {
    Ok(match word {
        "starting" => Stage::Starting,
        "loading" => Stage::Loading,
        "connecting" => Stage::Connecting,
        "running" => Stage::Running,
        "stopping" => Stage::Stopping,
        "failed" => Stage::Failed,
        _ => bail!("--stage is starting, loading, connecting, running, stopping or failed"),
    })
}

fn engine(text: &str) -> Result<SocketAddr> {
    let mut found = text
        .to_socket_addrs()
        .or_else(|_| (text, PORT).to_socket_addrs())
        .with_context(|| format!("--server {text} is no address"))?;
    found
        .next()
        .with_context(|| format!("--server {text} has no address"))
}

fn hexadecimal<const COUNT: usize>(text: &str) -> Result<[u8; COUNT]> {
    ensure!(
        text.len() == 2 * COUNT && text.bytes().all(|digit| digit.is_ascii_hexdigit()),
        "{COUNT} octets in hexadecimal are wanted"
    );
    let mut octets = [0; COUNT];
    for (at, octet) in octets.iter_mut().enumerate() {
        *octet = u8::from_str_radix(&text[2 * at..2 * at + 2], 16)?;
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: Report = Report {
        stage: Stage::Running,
        sessions: 1,
        uptime_s: 2,
        interval_s: 3,
    };

    fn answer(reporter: &Reporter, counter: u64, verdict: Verdict) -> [u8; DATAGRAM_BYTES] {
        let repr = Repr {
            mac: reporter.mac,
            counter,
            content: Content::Answer(verdict),
        };
        repr.emit(|signed| reporter.tag(signed))
    }

    #[test]
    fn a_reporter_believes_answers_of_its_key_to_its_last_report_and_counts_on_from_them() {
        let mut reporter = Reporter::new([2, 0, 0, 0, 0, 1], [5; 32], 10);
        let first = reporter.next(SAID);
        assert_ne!(first, reporter.next(SAID));
        assert_eq!(reporter.counter, 12);
        assert_eq!(
            reporter.answered(&answer(&reporter, 11, Verdict::Taken)),
            None
        );
        let mut forged = answer(&reporter, 12, Verdict::Taken);
        forged[55] ^= 1;
        assert_eq!(reporter.answered(&forged), None);
        assert_eq!(
            reporter.answered(&first),
            None,
            "its own report is no answer"
        );
        let stale = answer(&reporter, 5000, Verdict::Stale);
        assert_eq!(reporter.answered(&stale), Some(Answered::Again));
        reporter.next(SAID);
        assert_eq!(reporter.counter, 5001);
        let taken = answer(&reporter, 5001, Verdict::Taken);
        assert_eq!(reporter.answered(&taken), Some(Answered::Taken));
    }

    #[test]
    fn what_is_typed_is_understood_or_refused() {
        assert_eq!(hexadecimal::<2>("0aFf").ok(), Some([0x0a, 0xff]));
        assert!(hexadecimal::<2>("0a").is_err() && hexadecimal::<2>("0a0g").is_err());
        assert!(hexadecimal::<2>("\u{e9}12").is_err());
        assert_eq!(engine("127.0.0.1").ok().map(|to| to.port()), Some(PORT));
        assert_eq!(engine("127.0.0.1:7").ok().map(|to| to.port()), Some(7));
        assert!(stage("running").is_ok() && stage("walking").is_err());
    }
}
