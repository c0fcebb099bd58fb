//! Metrics in Prometheus' text form, over HTTP on a loopback address.
//!
//! A few GETs a minute from this machine: one thread, one connection at a time, every one within its bounds. What
//! happens here never reaches a packet.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::board::{self, Board, Kind};
use crate::io::Socket;
use crate::limits;
use crate::published::Published;
use crate::tally::{Shown, Tally};

/// What the metrics are read from.
#[derive(Debug)]
pub struct Sources {
    /// Of each worker.
    pub boards: Vec<Arc<Board>>,
    /// Of each worker.
    pub sockets: Vec<Arc<[Socket]>>,
    /// What is served.
    pub published: Arc<Published>,
    /// The driver in use.
    pub driver: &'static str,
    /// Of events and reports.
    pub tally: Arc<Tally>,
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut last = "";
        let mut numbers = board::together(&self.boards).peekable();
        while let Some((metric, number)) = numbers.next() {
            let gauge = metric.kind != Kind::Counter;
            let kind = if gauge {
                MetricType::Gauge
            } else {
                MetricType::Counter
            };
            debug_assert_ne!(metric.name, last, "the numbers of one name stand together");
            last = metric.name;
            let mut family = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            let Some(label) = metric.label else {
                if gauge {
                    ConstGauge::new(number).encode(family)?;
                } else {
                    ConstCounter::new(number).encode(family)?;
                }
                continue;
            };
            ConstCounter::new(number).encode(family.encode_family(&[label])?)?;
            while let Some((next, number)) = numbers.next_if(|(next, _)| next.name == metric.name)
                && let Some(label) = next.label
            {
                ConstCounter::new(number).encode(family.encode_family(&[label])?)?;
            }
        }
        let damaged = self.published.damaged().len() as u64;
        let help = "Images in service that are damaged, and refused";
        ConstGauge::new(damaged).encode(encoder.encode_descriptor(
            "images_damaged",
            help,
            None,
            MetricType::Gauge,
        )?)?;
        let drops: u64 = self
            .sockets
            .iter()
            .flat_map(|sockets| sockets.iter())
            .map(|socket| u64::from(socket.drops()))
            .sum();
        let help = "Datagrams that the kernel dropped because a receive buffer was full";
        ConstCounter::new(drops).encode(encoder.encode_descriptor(
            "kernel_receive_drops",
            help,
            None,
            MetricType::Counter,
        )?)?;
        let workers = u64::try_from(self.boards.len()).unwrap_or(u64::MAX);
        ConstGauge::new(workers).encode(encoder.encode_descriptor(
            "workers",
            "Worker threads",
            None,
            MetricType::Gauge,
        )?)
    }
}

/// The server of the metrics.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    registry: Registry,
}

impl Server {
    /// Listens, and does not answer yet.
    ///
    /// # Errors
    /// Those of bind(2).
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Server {
            listener: TcpListener::bind(address)?,
            registry: Registry::with_prefix("daybreak_engine"),
        })
    }

    /// Where.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the process ends.
    pub fn run(mut self, sources: Sources) {
        let build = Info::new([
            ("version", env!("CARGO_PKG_VERSION")),
            ("driver", sources.driver),
        ]);
        self.registry.register("build", "This engine", build);
        let shown = Shown(sources.tally.clone());
        self.registry.register_collector(Box::new(shown));
        self.registry.register_collector(Box::new(sources));
        loop {
            // An error is of one connection, or of a moment without descriptors.
            if let Ok((connection, _)) = self.listener.accept() {
                let _ = self.serve(connection);
            }
        }
    }

    fn serve(&self, mut connection: TcpStream) -> io::Result<()> {
        let until = Instant::now() + limits::HTTP_PATIENCE;
        connection.set_write_timeout(Some(limits::HTTP_PATIENCE))?;
        let mut request = [0; limits::HTTP_REQUEST_BYTES_MAX];
        let mut len = 0;
        let (status, body) = loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            connection.set_read_timeout(Some(left))?;
            match connection.read(&mut request[len..])? {
                0 => return Ok(()),
                count => len += count,
            }
            if request[..len].windows(4).any(|end| end == b"\r\n\r\n") {
                break self.answer(&request[..len]);
            }
            if len == request.len() {
                break ("431 Request Header Fields Too Large", String::new());
            }
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {TEXT_FORM}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes())?;
        connection.write_all(body.as_bytes())
    }

    fn answer(&self, request: &[u8]) -> (&'static str, String) {
        let line = request.split(|&b| b == b'\r').next().unwrap_or_default();
        let mut words = line.split(|&b| b == b' ');
        let (method, target) = (words.next(), words.next().unwrap_or_default());
        let path = target.split(|&b| b == b'?').next().unwrap_or_default();
        match (method, path) {
            (Some(b"GET"), b"/metrics") => {
                let mut body = String::new();
                match text::encode(&mut body, &self.registry) {
                    Ok(()) => ("200 OK", body),
                    Err(error) => ("500 Internal Server Error", error.to_string()),
                }
            }
            (Some(b"GET"), b"/healthz") => ("200 OK", "ok\n".into()),
            (Some(b"GET"), _) => {
                let mut body = String::new();
                let _ = writeln!(body, "/metrics and /healthz are here");
                ("404 Not Found", body)
            }
            _ => ("405 Method Not Allowed", String::new()),
        }
    }
}

const TEXT_FORM: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
