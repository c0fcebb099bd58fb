//! The process: start in the order in which things can fail, then wait for a signal, then end in order.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use daybreak_store::Reader;
use daybreak_store::journal::JournalWriter;
use daybreak_tftp::endpoint::{Config, Endpoint, Listener};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::binding::{self, Bound, WorkerSockets};
use crate::board::Board;
use crate::boots::Boots;
use crate::clock::Clock;
use crate::dhcp;
use crate::files::Files;
use crate::inspect::Inspector;
use crate::io::{
    Doorbell, Driver, Multishot, Parts, Portable, RingError, Uring, block_on, probe, start,
    supported,
};
use crate::journal::{Journal, Writing};
use crate::limits;
use crate::metrics::{Server, Sources};
use crate::notice::Notices;
use crate::options::Io;
use crate::orders::{Order, Orders};
use crate::published::Published;
use crate::quiet::Quiet;
use crate::refusal::StartError;
use crate::sandbox;
use crate::settings::Settings;
use crate::status::{self, Serving};
use crate::tally::Tally;
use crate::watch::Watcher;
use crate::worker::{Shared, Worker};

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As asked: every transfer was over, or was told.
    Orderly,
    /// At once, by a second signal.
    AtOnce,
    /// A worker could not go on.
    WorkerFailed,
}

/// What is worth waiting for.
enum News {
    Signal,
    /// A worker serves, or cannot.
    Began(Result<(), RingError>),
    Ended(io::Result<()>),
}

/// Serves until a signal.
///
/// # Errors
/// Why it did not start.
pub fn run(settings: &Settings) -> Result<Ended, StartError> {
    raise(Resource::Nofile);
    raise(Resource::Memlock);
    let (news, events) = mpsc::channel();
    let signals = Signals::new([SIGTERM, SIGINT]).map_err(system("sigaction"))?;
    let carrier = choose_carrier(settings.io)?;
    if settings.zero_copy && carrier != Carrier::Multishot {
        tracing::warn!(
            driver = carrier.name(),
            "zero_copy = \"kernel\" needs the driver uring (Linux 6.1): every send is copied"
        );
    }
    let bound = bind(&settings.plan)?;
    let metrics = bind_metrics(settings)?;
    let status = bind_status(settings)?;
    let interfaces = dhcp::bind(&settings.proxy_dhcp)?;
    say_what_is_bound(&bound);
    // Everything privileged is done, and no thread is running yet: each will inherit this.
    if settings.sandbox {
        sandbox::confine(&settings.data);
    } else {
        tracing::warn!(
            "serving without a sandbox, as asked by --no-sandbox: for finding faults only"
        );
    }
    watch_signals(signals, news.clone())?;
    let (reader, published) = open_data(settings)?;

    let generation = published.catalog().generation().get();
    let clock = Clock::start();
    let tally = Arc::<Tally>::default();
    let (notices, journal) = start_journal(settings, &published, clock, &tally)?;
    let workers = bound.workers;
    let team = Team::start(
        settings,
        workers,
        &published,
        carrier,
        (clock, &notices),
        &news,
    )?;
    if !interfaces.is_empty() {
        let serving = dhcp::Serving {
            clock,
            published: published.clone(),
            notices: notices.clone(),
            tally: tally.clone(),
            http_port: settings.proxy_dhcp.http_port,
        };
        spawn("proxy-dhcp", move || dhcp::serve(&interfaces, &serving))?;
    }
    if let Some(socket) = status {
        let address = socket.local_addr().map_err(system("getsockname"))?;
        tracing::info!(%address, "status reports");
        let serving = Serving {
            clock,
            published: published.clone(),
            notices,
            tally: tally.clone(),
        };
        spawn("status", move || status::serve(&socket, &serving))?;
    }
    let inspector = Inspector::new(published.clone(), clock);
    let damaged = published.clone();
    let watcher = Watcher::new(reader, published, team.doorbells.clone())
        .map_err(system("catalogs/ cannot be watched (inotify)"))?;
    spawn("catalogs", move || watcher.run())?;
    spawn("inspector", move || inspector.run())?;
    let driver = carrier.name();
    if let Some(server) = metrics {
        let address = server.address().map_err(system("getsockname"))?;
        tracing::info!(%address, "metrics");
        let (boards, sockets) = (team.boards.clone(), team.sockets.clone());
        spawn("metrics", move || {
            server.run(Sources {
                boards,
                sockets,
                published: damaged,
                driver,
                tally,
            });
        })?;
    }
    team.wait_until_serving(&events)?;
    tracing::info!(generation, %driver, workers = team.doorbells.len(), "ready");
    let ended = team.wait_until_ended(settings, &events);
    if let Some(journal) = journal {
        journal.stop();
    }
    Ok(ended)
}

/// The journal, if events can be written at all: boots matter more.
fn start_journal(
    settings: &Settings,
    published: &Arc<Published>,
    clock: Clock,
    tally: &Arc<Tally>,
) -> Result<(Notices, Option<Journal>), StartError> {
    let writer = match JournalWriter::open(&settings.data) {
        Ok(writer) => writer,
        Err(why) => {
            tracing::error!(%why, "serving without a journal of events");
            return Ok((Notices::default(), None));
        }
    };
    let (notices, queue) = Notices::queue();
    let writing = Writing {
        writer,
        queue,
        notices: notices.clone(),
        published: published.clone(),
        clock,
        tally: tally.clone(),
    };
    let journal = Journal::start(writing).map_err(system("a thread cannot be started"))?;
    Ok((notices, Some(journal)))
}

fn open_data(settings: &Settings) -> Result<(Reader, Arc<Published>), StartError> {
    let refused = |error| StartError::of_load(&settings.data, error);
    let reader = Reader::open(&settings.data).map_err(refused)?;
    let loaded = reader.load_or_fallback().map_err(refused)?;
    let generation = loaded.catalog.generation().get();
    if let Some(why) = loaded.warning {
        tracing::error!(%why, generation, "the published catalog cannot be served; an older one is");
    } else if generation == 0 {
        tracing::warn!(
            data = %settings.data.display(),
            "nothing is published yet: every request is refused until the first `daybreak-admin import`"
        );
    }
    Ok((reader, Arc::new(Published::new(loaded.catalog))))
}

/// Which driver carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    Multishot,
    TokioUring,
    Portable,
}

impl Carrier {
    fn name(self) -> &'static str {
        match self {
            Carrier::Multishot => "uring",
            Carrier::TokioUring => "tokio-uring",
            Carrier::Portable => "portable",
        }
    }
}

/// The best driver that was asked for and that this kernel allows.
fn choose_carrier(io: Io) -> Result<Carrier, StartError> {
    let best_ring = || match supported()? {
        true => Ok(Carrier::Multishot),
        false => probe().map(|()| Carrier::TokioUring),
    };
    match io {
        Io::Portable => Ok(Carrier::Portable),
        Io::TokioUring => Ok(probe().map(|()| Carrier::TokioUring)?),
        Io::Uring => Ok(best_ring()?),
        Io::Auto => Ok(best_ring().unwrap_or_else(|why: RingError| {
            tracing::warn!(%why, "serving without io_uring");
            Carrier::Portable
        })),
    }
}

/// Binds, with some patience for a port in use: the kernel lets go of the sockets of an engine that was killed a
/// moment after its end.
fn bind(plan: &binding::Plan) -> Result<binding::Bound, StartError> {
    let give_up = Instant::now() + limits::BIND_PATIENCE;
    loop {
        match binding::bind(plan, &mut random_u32) {
            Err(error)
                if error.source.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up =>
            {
                thread::park_timeout(limits::BIND_PATIENCE / 20);
            }
            result => return Ok(result?),
        }
    }
}

fn bind_metrics(settings: &Settings) -> Result<Option<Server>, StartError> {
    let address = settings.metrics.address;
    match Server::bind(address) {
        Ok(server) => Ok(Some(server)),
        Err(source) if settings.metrics.required => Err(StartError::Metrics { address, source }),
        Err(why) => {
            // Nobody asked for this very address; and boots matter more.
            tracing::warn!(%address, %why, "serving without metrics: choose another address with --metrics");
            Ok(None)
        }
    }
}

fn bind_status(settings: &Settings) -> Result<Option<UdpSocket>, StartError> {
    match (status::bind(settings.status), settings.status) {
        (Ok(socket), _) => Ok(Some(socket)),
        (Err(source), Some(address)) => Err(StartError::Status { address, source }),
        (Err(why), None) => {
            // As with the metrics.
            tracing::warn!(%why, "serving without status reports: choose another address with --status");
            Ok(None)
        }
    }
}

fn say_what_is_bound(bound: &Bound) {
    for cut in &bound.cut_short {
        tracing::warn!(
            asked_bytes = cut.asked,
            granted_bytes = cut.granted,
            "socket buffers cut short by the kernel: when everybody boots at once, requests are lost. \
             Set sysctl -w {}={} (and keep it in /etc/sysctl.d), or give the engine CAP_NET_ADMIN",
            cut.sysctl,
            cut.asked
        );
    }
    for address in &bound.skipped {
        tracing::info!(%address, "not listened on: the kernel has no IPv6");
    }
    for address in &bound.addresses {
        tracing::info!(%address, "listening");
    }
}

/// The workers, and what they share with the process.
struct Team {
    orders: Arc<Orders>,
    doorbells: Vec<Doorbell>,
    boards: Vec<Arc<Board>>,
    sockets: Vec<Arc<[crate::io::Socket]>>,
}

impl Team {
    fn start(
        settings: &Settings,
        workers: Vec<WorkerSockets>,
        published: &Arc<Published>,
        carrier: Carrier,
        (clock, notices): (Clock, &Notices),
        news: &Sender<News>,
    ) -> Result<Team, StartError> {
        let (orders, quiet) = (Arc::<Orders>::default(), Arc::<Quiet>::default());
        let cores = cores_to_pin(workers.len());
        let boots = Boots::of(workers.len());
        let mut team = Team {
            orders,
            doorbells: Vec::new(),
            boards: Vec::new(),
            sockets: Vec::new(),
        };
        for (number, (sockets, boots)) in workers.into_iter().zip(boots).enumerate() {
            let doorbell = Doorbell::new().map_err(system("eventfd"))?;
            let board = Arc::<Board>::default();
            team.doorbells.push(doorbell.clone());
            team.boards.push(board.clone());
            team.sockets.push(sockets.sockets.clone());
            let mut seed = [0; 32];
            random_bytes(&mut seed);
            let employment = Employment {
                protocol: (settings.protocol.clone(), sockets.listeners, seed),
                files: (published.clone(), quiet.clone(), clock),
                parts: Parts {
                    sockets: sockets.sockets,
                    doorbell,
                    clock,
                    zero_copy: settings.zero_copy,
                },
                shared: Shared {
                    orders: team.orders.clone(),
                    board,
                    quiet: quiet.clone(),
                    clock,
                    notices: notices.clone(),
                    boots,
                },
                may_do_without_ring: settings.io == Io::Auto,
                news: news.clone(),
            };
            let core = cores.get(number).copied();
            spawn("worker", move || employment.serve(core, carrier))?;
        }
        Ok(team)
    }

    fn give(&self, order: Order) {
        self.orders.give(order);
        self.doorbells.iter().for_each(Doorbell::ring);
    }

    fn wait_until_serving(&self, events: &Receiver<News>) -> Result<(), StartError> {
        let mut began = 0;
        while began < self.doorbells.len() {
            match events.recv() {
                Ok(News::Began(result)) => {
                    result?;
                    began += 1;
                }
                Ok(News::Signal) => self.give(Order::Drain),
                Ok(News::Ended(Err(source))) => {
                    return Err(StartError::System {
                        what: "a worker cannot serve",
                        source,
                    });
                }
                Ok(News::Ended(Ok(()))) => {}
                Err(_) => unreachable!("this process holds a sender"),
            }
        }
        Ok(())
    }

    /// Waits for a signal, then for the workers.
    fn wait_until_ended(&self, settings: &Settings, events: &Receiver<News>) -> Ended {
        let mut working = self.doorbells.len();
        let mut outcome = Ended::Orderly;
        let mut give_up: Option<Instant> = None;
        let mut told_to_end = self.orders.now() == Order::ShutDown;
        while working > 0 {
            let event = match give_up {
                None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => events.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match event {
                Ok(News::Signal) if give_up.is_none() => {
                    tracing::info!(
                        seconds_at_most = settings.drain.as_secs(),
                        "draining: no new transfers; a second signal ends at once"
                    );
                    self.give(Order::Drain);
                    give_up = Some(Instant::now() + settings.drain);
                }
                Ok(News::Signal) => {
                    tracing::warn!("ended at once by a second signal");
                    return Ended::AtOnce;
                }
                Ok(News::Began(_)) => {}
                Ok(News::Ended(result)) => {
                    working -= 1;
                    if let Err(why) = result {
                        tracing::error!(%why, "a worker cannot go on: the engine ends, to be started again");
                        outcome = Ended::WorkerFailed;
                        self.give(Order::ShutDown);
                        give_up = Some(Instant::now() + limits::END_PATIENCE);
                        told_to_end = true;
                    }
                }
                Err(_) if !told_to_end => {
                    tracing::warn!("the time to drain is over: running transfers are told");
                    self.give(Order::ShutDown);
                    give_up = Some(Instant::now() + limits::END_PATIENCE);
                    told_to_end = true;
                }
                Err(_) => break,
            }
        }
        tracing::info!("ended");
        outcome
    }
}

/// What a worker's thread begins with.
struct Employment {
    protocol: (Config, Vec<Listener>, [u8; 32]),
    files: (Arc<Published>, Arc<Quiet>, Clock),
    parts: Parts,
    shared: Shared,
    may_do_without_ring: bool,
    news: Sender<News>,
}

impl Employment {
    fn serve(self, core: Option<usize>, carrier: Carrier) {
        if let Some(core) = core {
            let mut cores = CpuSet::new();
            cores.set(core);
            // Without it the worker serves all the same.
            let _ = sched_setaffinity(None, &cores);
        }
        let news = self.news.clone();
        // A panic is the end of this worker, and so of the engine: half of it must not go on unseen.
        let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.drive(carrier)));
        let result = served.unwrap_or_else(|_| Err(io::Error::other("a worker panicked")));
        let _ = news.send(News::Ended(result));
    }

    fn drive(self, carrier: Carrier) -> io::Result<()> {
        let news = self.news.clone();
        let parts = self.parts.clone();
        let mut employment = Some(self);
        let began = match carrier {
            Carrier::Portable => None,
            Carrier::Multishot => Some(Multishot::new(parts).map_or_else(
                |error| Err(RingError::of(error)),
                |driver| {
                    let employment = employment.take().expect("not yet taken");
                    Ok(block_on(employment.work(driver)))
                },
            )),
            Carrier::TokioUring => Some(start(|| async {
                let employment = employment.take().expect("not yet taken");
                let driver = Uring::new(employment.parts.clone())?;
                employment.work(driver).await
            })),
        };
        match (began, &employment) {
            (Some(Ok(result)), _) => return result,
            (Some(Err(why)), Some(employment)) if employment.may_do_without_ring => {
                tracing::warn!(%why, "a worker serves without io_uring");
            }
            (Some(Err(why)), _) => {
                let _ = news.send(News::Began(Err(why)));
                return Ok(());
            }
            (None, _) => {}
        }
        let employment = employment.take().expect("no ring took it");
        let driver = Portable::new(employment.parts.clone())?;
        block_on(employment.work(driver))
    }

    async fn work(self, driver: impl Driver) -> io::Result<()> {
        let (published, quiet, clock) = self.files;
        let files = Files::new(published, quiet, clock).with_notices(self.shared.notices.clone());
        let (config, listeners, seed) = self.protocol;
        let endpoint = Endpoint::new(config, listeners, seed);
        let _ = self.news.send(News::Began(Ok(())));
        Worker::new(driver, endpoint, files, self.shared)
            .run()
            .await
    }
}

fn watch_signals(mut signals: Signals, news: Sender<News>) -> Result<(), StartError> {
    spawn("signals", move || {
        for _ in signals.forever() {
            let _ = news.send(News::Signal);
        }
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(system("a thread cannot be started"))?;
    Ok(())
}

fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> StartError {
    move |source| StartError::System {
        what,
        source: source.into(),
    }
}

/// The cores that workers are pinned to: none where there is nothing to keep apart, or too few of them.
fn cores_to_pin(workers: usize) -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(None) else {
        return Vec::new();
    };
    let allowed: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|&core| allowed.is_set(core))
        .collect();
    if workers > 1 && workers <= allowed.len() {
        allowed
    } else {
        Vec::new()
    }
}

/// As much as we may have of what serving takes: each image is an open file, and rings, and what is sent without a copy,
/// are locked memory. Without limit where we may still say so; refused, it stays as it was, and what does not fit is
/// refused file by file, served without a ring, or copied.
fn raise(resource: Resource) {
    let limit = getrlimit(resource);
    let most = match resource {
        Resource::Memlock => None,
        _ => limit.maximum,
    };
    for maximum in [most, limit.maximum] {
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        if setrlimit(resource, raised).is_ok() {
            return;
        }
    }
}

fn random_u32() -> u32 {
    let mut bytes = [0; 4];
    random_bytes(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// # Panics
/// Without randomness, which no Linux of ours is: then nothing here could be unpredictable.
fn random_bytes(bytes: &mut [u8]) {
    let count = getrandom(&mut *bytes, GetRandomFlags::empty()).expect("getrandom(2)");
    assert_eq!(
        count,
        bytes.len(),
        "getrandom(2) gives up to 256 octets at once"
    );
}
