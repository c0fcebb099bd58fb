//! When clients are powered on, and by whom they are driven.

use std::time::Duration;

use daybreak_tftp::Time;

use crate::plan::Fleet;

/// How the clients of a fleet arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// When the first one does.
    pub start: Duration,
    /// How the others follow.
    pub order: Order,
}

/// How clients follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// All with the first.
    #[default]
    AtOnce,
    /// One by one, evenly over this time.
    Ramp(Duration),
    /// Rack by rack.
    Waves {
        /// Clients of a rack.
        rack_clients: u32,
        /// From one rack to the next.
        every: Duration,
    },
}

impl Arrival {
    /// When the client at a position, of so many, is powered on. It never falls from one to the next.
    #[must_use]
    pub fn at(&self, position: u32, clients: u32) -> Time {
        let after = match self.order {
            Order::AtOnce => Duration::ZERO,
            Order::Ramp(over) => over
                .saturating_mul(position)
                .checked_div(clients)
                .unwrap_or_default(),
            Order::Waves {
                rack_clients,
                every,
            } => every.saturating_mul(position / rack_clients.max(1)),
        };
        Time::ZERO + self.start.saturating_add(after)
    }
}

/// Every so many clients, by number: what one process or thread drives. Clients are dealt like cards, so that each
/// part has its share of every fleet and of every moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The number of its first client; below `of`.
    pub first: u32,
    /// How many parts there are.
    pub of: u32,
}

impl Part {
    /// Everything.
    pub const WHOLE: Part = Part { first: 0, of: 1 };

    /// The part of this part that one of so many threads drives.
    #[must_use]
    pub fn thread(self, thread: u32, threads: u32) -> Part {
        Part {
            first: self.first + self.of * thread,
            of: self.of * threads,
        }
    }

    /// How many of `clients` clients, numbered from `first`, belong to it.
    #[must_use]
    pub fn count(self, first: u32, clients: u32) -> u32 {
        let start = self.start(first);
        clients.saturating_sub(start).div_ceil(self.of)
    }

    /// The position of the first of the clients numbered from `first` that belongs to it.
    fn start(self, first: u32) -> u32 {
        (self.first + self.of - first % self.of) % self.of
    }
}

/// A client to be powered on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arriving {
    /// Its fleet.
    pub fleet: usize,
    /// Its position in the fleet.
    pub position: u32,
    /// When.
    pub at: Time,
}

/// The clients of a part, in the order of their arrival; those of one moment by turns from all fleets.
#[derive(Debug)]
pub struct Arrivals<'a> {
    fleets: &'a [Fleet],
    /// The next position of each fleet.
    next: Vec<u32>,
    step: u32,
}

impl<'a> Arrivals<'a> {
    pub(crate) fn new(fleets: &'a [Fleet], part: Part) -> Self {
        Arrivals {
            fleets,
            next: fleets.iter().map(|fleet| part.start(fleet.first)).collect(),
            step: part.of,
        }
    }
}

impl Iterator for Arrivals<'_> {
    type Item = Arriving;

    fn next(&mut self) -> Option<Arriving> {
        let arriving = |(index, fleet): (usize, &Fleet)| {
            let position = self.next[index];
            (position < fleet.clients).then(|| {
                let at = fleet.arrival.at(position, fleet.clients);
                // How far the fleet is: the one that is behind comes first.
                let turn = (u64::from(position) << 32) / u64::from(fleet.clients);
                let client = Arriving {
                    fleet: index,
                    position,
                    at,
                };
                (at, turn, client)
            })
        };
        let all = self.fleets.iter().enumerate().filter_map(arriving);
        let (.., client) = all.min_by_key(|(at, turn, _)| (*at, *turn))?;
        let next = &mut self.next[client.fleet];
        *next = next.saturating_add(self.step);
        Some(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ramps_and_waves_spread_the_clients() {
        let at = |arrival: Arrival, position| arrival.at(position, 100).since(Time::ZERO);
        let ramp = Arrival {
            start: SECOND,
            order: Order::Ramp(50 * SECOND),
        };
        assert_eq!(
            (at(ramp, 0), at(ramp, 1), at(ramp, 99)),
            (SECOND, SECOND * 3 / 2, SECOND * 101 / 2)
        );
        let waves = Arrival {
            start: Duration::ZERO,
            order: Order::Waves {
                rack_clients: 40,
                every: 5 * SECOND,
            },
        };
        assert_eq!(
            [0, 39, 40, 80].map(|position| at(waves, position).as_secs()),
            [0, 0, 5, 10]
        );
        assert_eq!(at(Arrival::default(), 99), Duration::ZERO);
    }

    #[test]
    fn parts_are_the_whole_and_share_nobody() {
        for (first, clients, of) in [(0, 11, 3), (5, 7, 3), (100, 1, 4), (3, 2, 8)] {
            let count = |first_of_part| {
                let part = Part {
                    first: first_of_part,
                    of,
                };
                let mine = (first..first + clients)
                    .filter(|number| number % of == first_of_part)
                    .count();
                assert_eq!(part.count(first, clients) as usize, mine);
                part.count(first, clients)
            };
            assert_eq!((0..of).map(count).sum::<u32>(), clients);
        }
        let half = Part { first: 1, of: 2 };
        assert_eq!(half.thread(2, 3), Part { first: 5, of: 6 });
    }
}
