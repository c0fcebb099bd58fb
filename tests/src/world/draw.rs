//! The seed picks the world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use daybreak_tftp::download::{Profile, Stray};
use daybreak_tftp::endpoint::{Config, Rate};
use daybreak_tftp::wire::{OptionKind, Rollover};

use super::host::Image;
use super::network::{Bottleneck, FRAME_BYTES, Faults, Partition, Wire};
use super::prng::Prng;
use super::scenario::{
    DriverFaults, Intruders, SERVER, Scenario, ServerPlan, TerminalPlan, listeners,
};

/// Blocks that all clients of an ordinary world receive together, about: what it costs to run.
const BLOCKS_BUDGET: u64 = 24_000;

const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The world of a seed.
#[must_use]
pub fn draw(seed: u64) -> Scenario {
    let mut dice = Prng::new(seed, "scenario");
    if dice.chance(60) {
        return long_files(seed, &mut dice);
    }
    let count = match dice.below(10) {
        0 | 1 => 1,
        2..=5 => dice.count(2, 10),
        6..=8 => dice.count(11, 60),
        _ => dice.count(61, 300),
    };
    let mut server = server(&mut dice, count);
    // A client with a probe has two transfers, and those that ended linger.
    let scarce = (server.config.transfers_max as usize) < 4 * count
        || (server.config.half_open_per_source_max as usize) < 4 * count;
    // A server that has all its clients wait would have to be patient with strangers, too.
    if scarce {
        server.config.rate = Rate::Learned { max: None };
    }
    let calm = dice.chance(250);
    let mut terminals: Vec<TerminalPlan> = (0..count)
        .map(|position| terminal(&mut dice, &server, position, calm))
        .collect();
    let publishes = if dice.chance(500) {
        let mut times: Vec<Duration> = (0..dice.count(1, 5))
            .map(|_| dice.time(micros(0), seconds(8)))
            .collect();
        times.sort();
        times
    } else {
        Vec::new()
    };
    let images = images(
        &mut dice,
        &mut terminals,
        &server.config,
        publishes.len() + 1,
    );
    let heal_at = if calm {
        Duration::ZERO
    } else {
        dice.time(seconds(3), seconds(40))
    };
    let mut scenario = Scenario {
        seed,
        wire: wire(&mut dice, &terminals, &server.config),
        server,
        images,
        generation: 0,
        publishes,
        terminals,
        faults: Faults::default(),
        driver: DriverFaults::default(),
        intruders: None,
        heal_at,
        scarce,
    };
    if !calm {
        troubles(&mut dice, &mut scenario);
    }
    scenario
}

fn server(dice: &mut Prng, count: usize) -> ServerPlan {
    let mut config = Config::default();
    if dice.chance(200) {
        config.blksize_max = dice.one_of(&[8, 512, 1024, 1432, 1468, 8192]);
    }
    if dice.chance(200) {
        config.windowsize_max = dice.one_of(&[1, 2, 5, 16, 200]);
    }
    if dice.chance(100) {
        config.transfers_max = u32::try_from(count / 2 + 1).expect("few");
    }
    if dice.chance(100) {
        config.half_open_per_source_max = dice.one_of(&[1, 3, 50]);
    }
    if dice.chance(100) {
        config.rate = Rate::Learned {
            max: Some(2_000_000 + count as u64 * 200_000),
        };
    }
    let batched = dice.chance(600);
    ServerPlan {
        config,
        listeners: listeners(
            dice.one_of(&[1, 1, 2]),
            dice.one_of(&[0, 1, 2, 16, 16, 64, 500]),
        ),
        local_known: dice.chance(800),
        turn: if batched {
            dice.time(micros(1), micros(1000))
        } else {
            Duration::ZERO
        },
        room: if batched {
            dice.one_of(&[1, 4, 64, 4096])
        } else {
            usize::MAX
        },
    }
}

fn terminal(dice: &mut Prng, server: &ServerPlan, position: usize, calm: bool) -> TerminalPlan {
    let number = u32::try_from(position).expect("few");
    let together = dice.chance(300);
    let v6 = dice.chance(150);
    let address = match (v6, together) {
        // Behind one address, as behind a NAT.
        (false, true) => IpAddr::from([203, 0, 113, 7]),
        (true, true) => IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 7)),
        (false, false) => IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number + 1)),
        (true, false) => {
            let [high, low] = [(number >> 16) as u16, (number & 0xffff) as u16];
            IpAddr::from(Ipv6Addr::new(
                0x2001,
                0xdb8,
                0,
                number as u16 & 3,
                0,
                0,
                high,
                low,
            ))
        }
    };
    let asked = match (v6, server.local_known && dice.chance(200)) {
        (true, _) => IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1)),
        (false, true) => IpAddr::from([198, 51, 100, 2]),
        (false, false) => SERVER,
    };
    let listener = dice.one_of(
        &server
            .listeners
            .iter()
            .map(|l| l.socket)
            .collect::<Vec<_>>(),
    );
    let power_cycles = if !calm && dice.chance(120) {
        (0..dice.count(1, 3))
            .map(|_| (dice.time(micros(0), seconds(20)), dice.chance(400)))
            .collect()
    } else {
        Vec::new()
    };
    TerminalPlan {
        profile: Arc::new(profile(dice, &server.config)),
        image: 0,
        absent: dice.chance(30),
        address,
        server: SocketAddr::new(asked, server.port(listener)),
        delay: match dice.below(10) {
            0..=5 => dice.time(micros(20), micros(1_000)),
            6..=8 => dice.time(micros(1_000), micros(20_000)),
            _ => dice.time(micros(20_000), micros(120_000)),
        },
        on_at: match dice.below(3) {
            0 => Duration::ZERO,
            1 => dice.time(micros(0), micros(10_000)),
            _ => dice.time(micros(0), seconds(5)),
        },
        power_cycles,
        lingers: dice.chance(700),
    }
}

fn profile(dice: &mut Prng, config: &Config) -> Profile {
    let mut profile = match dice.below(12) {
        0 => Profile::rfc1350(),
        1 => Profile::ipxe(),
        2 => Profile::edk2(),
        3 => Profile::grub2(),
        4 => Profile::pxelinux(),
        5 => Profile::uboot(),
        6 => Profile::raspberry(),
        _ => {
            let blksize = match dice.below(8) {
                0 => dice.short(8, 64),
                1 => 512,
                2 => dice.one_of(&[4096, 8192, 65_464]),
                _ => dice.short(512, 1468),
            };
            let mut plain = Profile::plain(blksize, dice.one_of(&[1, 1, 2, 4, 8, 16, 33, 64, 300]));
            plain.stray = dice.one_of(&[
                Stray::OncePerFlight,
                Stray::OnceUntilProgress,
                Stray::Each,
                Stray::Silent,
            ]);
            plain
        }
    };
    let mut add = |dice: &mut Prng, per_mille, option: (OptionKind, u64)| {
        let known = profile.options.iter().any(|(kind, _)| *kind == option.0);
        if dice.chance(per_mille) && !known {
            profile.options.push(option);
        }
    };
    let timeout = dice.one_of(&[1, 2, 5, 5, 20]);
    add(dice, 100, (OptionKind::Timeout, timeout));
    add(dice, 100, (OptionKind::Tsize, 0));
    let rollover = dice.below(2);
    add(dice, 100, (OptionKind::Rollover, rollover));
    if config.rollover == Rollover::One && profile.rollover.is_none() {
        profile.rollover = Some(Rollover::One);
    }
    if dice.chance(100) {
        profile.ack_copies = 2;
    }
    if dice.chance(100) {
        profile.request_copies = dice.one_of(&[2, 3]);
    }
    profile.answers_strangers = dice.chance(200);
    if dice.chance(60) {
        profile.mode = dice.one_of(&["netascii", "OCTET"]);
    }
    profile
}

/// The block size that a client will get.
fn blksize(terminal: &TerminalPlan, config: &Config) -> u64 {
    let options = &terminal.profile.options;
    let asked = options
        .iter()
        .find(|(kind, _)| *kind == OptionKind::Blksize);
    asked.map_or(512, |(_, asked)| (*asked).min(config.blksize_max.into()))
}

fn images(
    dice: &mut Prng,
    terminals: &mut [TerminalPlan],
    config: &Config,
    generations: usize,
) -> Vec<Image> {
    let most = (BLOCKS_BUDGET / terminals.len() as u64).clamp(4, 8_000);
    let sizes: Vec<u64> = terminals.iter().map(|t| blksize(t, config)).collect();
    let size = |dice: &mut Prng| {
        let block = dice.one_of(&sizes);
        let blocks = dice.between(1, most.min(4_000_000 / block).max(1));
        match dice.below(9) {
            0 => 0,
            1 => 1,
            2 => dice.between(511, 513),
            3 => block - 1,
            4 => block * blocks,
            5 => block * blocks - 1,
            6 => block * blocks + 1,
            _ => dice.below(block * blocks + 1),
        }
    };
    let mut images: Vec<Image> = (0..terminals.len().min(12))
        .map(|_| Image {
            sizes: (0..generations).map(|_| size(dice)).collect(),
        })
        .collect();
    images.push(Image {
        sizes: vec![dice.below(4)],
    });
    for (terminal, block) in terminals.iter_mut().zip(sizes) {
        let fits = |image: &Image| image.sizes.iter().all(|size| size / block <= most);
        let choice = dice.count(0, images.len() - 1);
        terminal.image = if fits(&images[choice]) {
            choice
        } else {
            images.len() - 1
        };
    }
    images
}

fn wire(dice: &mut Prng, terminals: &[TerminalPlan], config: &Config) -> Wire {
    let packets = terminals
        .iter()
        .map(|t| blksize(t, config) + 4 + FRAME_BYTES);
    let (all, largest) = packets.fold((0, 0), |(all, most), p| (all + p, most.max(p)));
    let bottleneck = dice.chance(600).then(|| {
        // Slower than this, nobody could keep so many clients of such patience.
        let least = 4 * all;
        let rate = dice.one_of(&[1_250_000, 12_500_000, 12_500_000, 125_000_000]);
        Bottleneck {
            rate: rate.max(least),
            queue: dice.between(16_000, 512_000).max(2 * largest),
        }
    });
    Wire {
        jitter: dice.time(micros(0), micros(300)),
        bottleneck,
    }
}

/// What goes wrong.
fn troubles(dice: &mut Prng, scenario: &mut Scenario) {
    let loss = |dice: &mut Prng| match dice.below(4) {
        0 => 0,
        1 => dice.between(1, 20) as u32,
        2 => dice.between(20, 100) as u32,
        _ => dice.between(100, 300) as u32,
    };
    let count = scenario.terminals.len();
    let partitions = (0..dice.below(4)).map(|_| {
        let from = dice.time(micros(0), seconds(15));
        let first = dice.count(0, count - 1);
        Partition {
            time: from..from + dice.time(micros(10_000), seconds(20)),
            terminals: first..dice.count(first + 1, count),
            cuts: dice.one_of(&[[true, true], [true, false], [false, true]]),
        }
    });
    let partitions = partitions.collect();
    let disorder_delay = dice.one_of(&[micros(200), micros(2_000), micros(50_000), seconds(3)]);
    // A request that is a second late looks like a client that begins anew; where the new transfer may by chance have
    // the port of the old one, the client cannot tell them apart.
    let few_ports = (1..16).contains(&scenario.server.listeners[0].transfer_sockets.len());
    scenario.faults = Faults {
        loss: [loss(dice), loss(dice)],
        copies: loss(dice) / 3,
        disorder: loss(dice) / 3,
        disorder_delay: if few_ports {
            disorder_delay.min(micros(50_000))
        } else {
            disorder_delay
        },
        partitions,
    };
    if dice.chance(400) {
        scenario.driver = DriverFaults {
            vanish: loss(dice) / 3,
            cut: loss(dice) / 3,
            unreadable: dice.one_of(&[0, 0, 1, 3]),
        };
    }
    scenario.intruders = dice.chance(600).then(|| Intruders {
        every: micros(100)..dice.time(micros(2_000), micros(500_000)),
        spoof: dice.chance(300),
        flood: dice.one_of(&[1, 1, 20, 600]),
    });
}

/// A file of more blocks than the wire can number, for a few clients.
fn long_files(seed: u64, dice: &mut Prng) -> Scenario {
    let block = dice.short(8, 16);
    let blocks = dice.between(65_530, 67_000);
    let config = Config {
        rollover: dice.one_of(&[Rollover::Zero, Rollover::Zero, Rollover::One]),
        ..Config::default()
    };
    let server = ServerPlan::new(config.clone(), dice.one_of(&[0, 16]));
    let plan = |dice: &mut Prng, position: u8| {
        let mut profile = Profile::plain(block, dice.one_of(&[1, 4, 16, 64, 64]));
        match dice.below(3) {
            0 => profile.options.push((OptionKind::Rollover, 0)),
            1 => profile.options.push((OptionKind::Rollover, 1)),
            _ if config.rollover == Rollover::One => profile.rollover = Some(Rollover::One),
            _ => {}
        }
        TerminalPlan {
            profile: Arc::new(profile),
            image: 0,
            absent: false,
            address: IpAddr::from([10, 0, 0, position]),
            server: SocketAddr::new(SERVER, 69),
            delay: dice.time(micros(500), micros(2_000)),
            on_at: Duration::ZERO,
            power_cycles: Vec::new(),
            lingers: true,
        }
    };
    let terminals = (1..=dice.one_of(&[1, 1, 2])).map(|position| plan(dice, position));
    let terminals = terminals.collect();
    let faults = Faults {
        loss: dice.one_of(&[[0, 0], [2, 2], [20, 5]]),
        copies: 5,
        disorder: 5,
        disorder_delay: micros(3_000),
        partitions: Vec::new(),
    };
    Scenario {
        seed,
        server,
        images: vec![Image {
            sizes: vec![u64::from(block) * blocks + dice.below(3)],
        }],
        generation: 0,
        publishes: Vec::new(),
        terminals,
        wire: Wire::default(),
        faults,
        driver: DriverFaults::default(),
        intruders: None,
        heal_at: dice.time(seconds(1), seconds(60)),
        scarce: false,
    }
}
