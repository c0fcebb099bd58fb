//! The loads, each with what is asked of us under it.

use super::bar::Bar;

/// Block size that all clients ask for, in octets.
pub const BLKSIZE: u64 = 1428;
/// Ethernet, IP, UDP and TFTP headers of one block.
const HEADERS: u64 = 14 + 20 + 8 + 4;
/// Bits a second of the slow wire.
pub const WIRE_BITS_PER_S: u64 = 200_000_000;

/// What lies between the server and the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The loopback.
    Loopback,
    /// A wire of 200 Mbit/s with a queue of 64 kB.
    SlowWire,
}

/// One load. All clients ask in the same moment.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Short and unique, for `--only` and the raw results.
    pub name: String,
    /// What lies between.
    pub way: Way,
    /// Clients.
    pub clients: u32,
    /// Octets of the file that each fetches.
    pub file_bytes: u64,
    /// The window that they ask for, in blocks.
    pub windowsize: u16,
    /// Packets dropped, in percent, each way.
    pub loss_percent: u32,
    /// Seconds after which what still runs has failed.
    pub deadline_s: u32,
    /// What is asked of us.
    pub bars: &'static [Bar],
}

impl Scenario {
    fn new(clients: u32, file_bytes: u64, windowsize: u16) -> Scenario {
        Scenario {
            name: format!("c{clients}-w{windowsize}"),
            way: Way::Loopback,
            clients,
            file_bytes,
            windowsize,
            loss_percent: 0,
            deadline_s: 100,
            bars: &[],
        }
    }

    fn loss(mut self, percent: u32) -> Scenario {
        self.loss_percent = percent;
        if percent > 0 {
            self.deadline_s = 60;
            self.name += &format!("-loss{percent}");
        }
        self
    }

    fn slow_wire(mut self) -> Scenario {
        self.way = Way::SlowWire;
        self.name = format!("wire{}-w{}", self.clients, self.windowsize);
        self
    }

    fn bars(mut self, bars: &'static [Bar]) -> Scenario {
        self.bars = bars;
        self
    }

    /// Whether our engine also runs with two workers.
    #[must_use]
    pub fn with_two_workers(&self) -> bool {
        self.bars.contains(&Bar::CpuOfTwoWorkers)
    }

    /// Blocks of the sends that the bare sender is run with beside it.
    #[must_use]
    pub fn floors(&self) -> &'static [usize] {
        if self.bars.contains(&Bar::CpuOfFloor) {
            &[16, 44]
        } else if self.bars.contains(&Bar::CpuOfDnsmasq) {
            &[1]
        } else {
            &[]
        }
    }

    /// The name of its file.
    #[must_use]
    pub fn file(&self) -> String {
        format!("image-{}k", self.file_bytes >> 10)
    }

    /// What it is, for people.
    #[must_use]
    pub fn title(&self) -> String {
        let size = match self.file_bytes {
            bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
            bytes => format!("{} KiB", bytes >> 10),
        };
        let clients = match self.clients {
            1 => "1 client".to_owned(),
            clients => format!("{} clients", grouped(clients)),
        };
        let mut title = format!("{clients} × {size}, windowsize {}", self.windowsize);
        if self.loss_percent > 0 {
            title += &format!(", {} % loss each way", self.loss_percent);
        }
        if self.way == Way::SlowWire {
            title += &format!(", 200 Mbit/s ({:.1} s of wire time)", self.wire_s());
        }
        title
    }

    /// Seconds that the slow wire needs for all of it, if nothing is sent twice.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn wire_s(&self) -> f64 {
        // A file that fills its last block is followed by an empty one.
        let blocks = self.file_bytes / BLKSIZE + 1;
        let octets = u64::from(self.clients) * (self.file_bytes + blocks * HEADERS);
        (octets * 8) as f64 / WIRE_BITS_PER_S as f64
    }
}

/// All loads, in the order of the tables.
#[must_use]
pub fn all() -> Vec<Scenario> {
    const MIB: u64 = 1 << 20;
    let mut all = vec![
        Scenario::new(1, 16 * MIB, 1),
        Scenario::new(1, 16 * MIB, 16),
        Scenario::new(64, 16 * MIB, 1).bars(&[Bar::CpuOfDnsmasq, Bar::CpuOfTwoWorkers]),
        Scenario::new(64, 16 * MIB, 16).bars(&[
            Bar::CpuOfBestPeer,
            Bar::CpuOfFloor,
            Bar::CpuOfTwoWorkers,
        ]),
    ];
    for loss in [0, 1, 5] {
        for windowsize in [1, 16] {
            let bars: &[Bar] = match loss {
                0 => &[Bar::ThroughputOfEveryPeer, Bar::FirstDataOfBestPeer],
                _ => &[Bar::AllFinish, Bar::MedianOfBestPeer],
            };
            all.push(Scenario::new(1000, MIB, windowsize).loss(loss).bars(bars));
        }
    }
    for windowsize in [1, 16] {
        all.push(Scenario::new(10_000, 64 << 10, windowsize).bars(&[
            Bar::AllFinish,
            Bar::NoDrops,
            Bar::FirstDataWithinASecond,
            Bar::OwnMemory,
        ]));
    }
    // Of 16 MiB, a server that waits a second for each loss would not see the end.
    for (clients, file_bytes) in [(1, MIB), (64, MIB), (10_000, 64 << 10)] {
        for windowsize in [1, 16] {
            let scenario = Scenario::new(clients, file_bytes, windowsize).loss(1);
            all.push(scenario.bars(&[Bar::AllFinish]));
        }
    }
    for clients in [200, 500] {
        for windowsize in [1, 16, 64] {
            let scenario = Scenario::new(clients, 2 * MIB, windowsize).slow_wire();
            all.push(scenario.bars(&[
                Bar::AllFinish,
                Bar::LastOfWireTime,
                Bar::MedianOfLast,
                Bar::QueueDrops,
            ]));
        }
    }
    all
}

/// The names of those that `--quick` runs.
pub const QUICK: [&str; 5] = [
    "c64-w1",
    "c64-w16",
    "c1000-w16-loss1",
    "c10000-w1",
    "wire200-w16",
];

/// A number with its thousands apart.
fn grouped(number: u32) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_quick_ones_exist() {
        let names: Vec<String> = all().into_iter().map(|scenario| scenario.name).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{name} is there twice");
        }
        for quick in QUICK {
            assert!(names.iter().any(|name| name == quick), "no {quick}");
        }
    }

    #[test]
    fn two_hundred_clients_keep_the_slow_wire_busy_for_17_seconds() {
        let all = all();
        let scenario = all.iter().find(|scenario| scenario.name == "wire200-w16");
        let wire_s = scenario.expect("in the table").wire_s();
        assert!((17.2..17.6).contains(&wire_s), "{wire_s}");
    }
}
