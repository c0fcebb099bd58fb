//! Numbers that a worker shows: written by it alone once a turn, read by whoever asks, locked by nobody.

use std::sync::atomic::{AtomicU64, Ordering};

use daybreak_tftp::endpoint;

use crate::{files, io};

/// The numbers of one worker at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Of the protocol core.
    pub endpoint: &'a endpoint::Counters,
    /// Of the driver.
    pub driver: &'a io::Counters,
    /// Of the files.
    pub files: &'a files::Counters,
    /// Transfers that are running.
    pub transfers_live: u64,
    /// The generation that new requests are answered from.
    pub generation: u64,
}

/// How the numbers of several workers become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; the sum.
    Counter,
    /// Goes up and down; the sum.
    Gauge,
    /// The same everywhere, soon; the smallest.
    Lowest,
}

/// One number.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, without the prefix and without `_total`.
    pub name: &'static str,
    /// A label of it, where several numbers share a name.
    pub label: Option<(&'static str, &'static str)>,
    /// What it says.
    pub help: &'static str,
    /// How it adds up.
    pub kind: Kind,
    read: fn(&Sample<'_>) -> u64,
}

/// Counters: name, text, and where it is found.
macro_rules! counters {
    ($($name:literal $help:literal $from:ident.$field:ident,)*) => {
        [$(Metric {
            name: $name,
            label: None,
            help: $help,
            kind: Kind::Counter,
            read: |sample| sample.$from.$field,
        },)*]
    };
}

const COUNTERS: [Metric; 44] = counters![
    "requests" "Read requests received" endpoint.requests,
    "requests_duplicate" "Read requests that repeated one of a running transfer" endpoint.requests_duplicate,
    "requests_refused" "Read requests answered with an ERROR" endpoint.requests_refused,
    "requests_write" "Write requests, all refused" endpoint.requests_write,
    "requests_over_limit" "Requests left without an answer because a limit was reached" endpoint.requests_over_limit,
    "requests_while_draining" "Requests left without an answer because the engine is going down" endpoint.requests_while_draining,
    "packets_malformed" "Packets that are no TFTP" endpoint.packets_malformed,
    "packets_unknown_tid" "Packets that belong to no transfer" endpoint.packets_unknown_tid,
    "packets_ignored" "Packets ignored in silence" endpoint.packets_ignored,
    "acks" "ACKs of running transfers" endpoint.acks,
    "acks_stale" "ACKs of blocks acknowledged before" endpoint.acks_stale,
    "blocks_sent" "DATA blocks sent" endpoint.blocks_sent,
    "blocks_resent" "DATA blocks sent more than once" endpoint.blocks_resent,
    "bytes_sent" "Octets of DATA packets sent, TFTP headers included" endpoint.bytes_sent,
    "trains_sent" "Trains of DATA blocks sent" endpoint.trains_sent,
    "rewinds" "Windows begun again after a gap that the client reported" endpoint.rewinds,
    "timeouts" "Retransmissions by timer" endpoint.timeouts,
    "replies_dropped" "ERROR replies dropped because too many were waiting" endpoint.replies_dropped,
    "events_dropped" "Events dropped because too many were waiting" endpoint.events_dropped,
    "transfers_started" "Transfers that their client acknowledged" endpoint.transfers_started,
    "transfers_completed" "Transfers acknowledged to the last block" endpoint.transfers_completed,
    "transfers_probe" "Transfers that only asked for a size" endpoint.transfers_probe,
    "transfers_aborted" "Transfers ended by their client with an ERROR" endpoint.transfers_aborted,
    "transfers_timed_out" "Transfers whose client fell silent" endpoint.transfers_timed_out,
    "transfers_unconfirmed" "Transfers sent to their end whose last ACK is missing" endpoint.transfers_unconfirmed,
    "transfers_replaced" "Transfers replaced by a new request from the same port" endpoint.transfers_replaced,
    "transfers_failed" "Transfers that could not be sent, or were cut by the shutdown" endpoint.transfers_failed,
    "driver_turns" "Turns of the drivers: wake-ups that brought something" driver.turns,
    "driver_datagrams_received" "Datagrams received" driver.datagrams_received,
    "driver_datagrams_ignored" "Datagrams to broadcast or multicast addresses, or without a usable sender" driver.datagrams_ignored,
    "driver_receive_errors" "Receives that failed" driver.receive_errors,
    "driver_sends" "Sends handed to the kernel; a train is one" driver.sends,
    "driver_sends_dropped" "Sends dropped because there was no room" driver.sends_dropped,
    "driver_trains_refused" "Trains that segmentation offload refused; they went block by block" driver.trains_refused,
    "driver_trains_singly" "Trains sent block by block because the destination had refused one" driver.trains_singly,
    "driver_zero_copy_sends" "Sends without a copy in the kernel" driver.zero_copy_sends,
    "driver_zero_copy_copied" "Sends without a copy that the kernel copied after all" driver.zero_copy_copied,
    "driver_zero_copy_refused" "Sends without a copy that were refused, and left with one" driver.zero_copy_refused,
    "names_not_found" "Requests for names that the catalog does not have" files.names_not_found,
    "terminals_disabled" "Requests for the configuration of a terminal that is disabled" files.terminals_disabled,
    "terminals_unseated" "Requests for the configuration of a terminal that holds no licence seat" files.terminals_unseated,
    "terminals_standby" "Requests for the configuration of a terminal that only the other server of the pair boots" files.terminals_standby,
    "names_refused" "Requests for names that cannot be any of ours" files.names_refused,
    "files_unreadable" "Requests for files that could not be opened or read" files.files_unreadable,
];

const fn send_errors(label: &'static str, read: fn(&Sample<'_>) -> u64) -> Metric {
    Metric {
        name: "driver_send_errors",
        label: Some(("class", label)),
        help: "Sends that failed, by class",
        kind: Kind::Counter,
        read,
    }
}

const OTHERS: [Metric; 10] = [
    Metric {
        name: "texts_refused",
        label: None,
        help: "Requests in netascii refused: too large, or no room",
        kind: Kind::Counter,
        read: |sample| sample.files.texts_refused,
    },
    send_errors(io::SendError::ALL[0].name(), |sample| {
        sample.driver.send_errors[0]
    }),
    send_errors(io::SendError::ALL[1].name(), |sample| {
        sample.driver.send_errors[1]
    }),
    send_errors(io::SendError::ALL[2].name(), |sample| {
        sample.driver.send_errors[2]
    }),
    send_errors(io::SendError::ALL[3].name(), |sample| {
        sample.driver.send_errors[3]
    }),
    send_errors(io::SendError::ALL[4].name(), |sample| {
        sample.driver.send_errors[4]
    }),
    send_errors(io::SendError::ALL[5].name(), |sample| {
        sample.driver.send_errors[5]
    }),
    Metric {
        name: "driver_zero_copy_leases",
        label: None,
        help: "Sends without a copy whose memory the kernel may still read",
        kind: Kind::Gauge,
        read: |sample| sample.driver.zero_copy_sends - sample.driver.zero_copy_released,
    },
    Metric {
        name: "transfers_live",
        label: None,
        help: "Transfers running now",
        kind: Kind::Gauge,
        read: |sample| sample.transfers_live,
    },
    Metric {
        name: "catalog_generation",
        label: None,
        help: "Generation of the catalog that new requests are answered from",
        kind: Kind::Lowest,
        read: |sample| sample.generation,
    },
];

const METRICS: usize = COUNTERS.len() + OTHERS.len();

/// Every number of a worker, in the order of its board.
pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    COUNTERS.iter().chain(&OTHERS)
}

/// The board of one worker, on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Board {
    numbers: [AtomicU64; METRICS],
}

impl Default for Board {
    fn default() -> Self {
        Board {
            numbers: [const { AtomicU64::new(0) }; METRICS],
        }
    }
}

impl Board {
    /// Shows the numbers of now.
    pub fn show(&self, sample: &Sample<'_>) {
        for (number, metric) in self.numbers.iter().zip(metrics()) {
            number.store((metric.read)(sample), Ordering::Relaxed);
        }
    }
}

/// The numbers of all boards together, in the order of [`metrics`].
pub fn together(boards: &[impl AsRef<Board>]) -> impl Iterator<Item = (&'static Metric, u64)> {
    metrics().enumerate().map(move |(position, metric)| {
        let numbers = boards
            .iter()
            .map(|board| board.as_ref().numbers[position].load(Ordering::Relaxed));
        let number = match metric.kind {
            Kind::Counter | Kind::Gauge => numbers.sum(),
            Kind::Lowest => numbers.min().unwrap_or(0),
        };
        (metric, number)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_numbers_of_workers_add_up() {
        let boards: Vec<Arc<Board>> = (0..3).map(|_| Arc::default()).collect();
        for (board, generation) in boards.iter().zip([7, 8, 8]) {
            board.show(&Sample {
                endpoint: &endpoint::Counters {
                    requests: 2,
                    ..Default::default()
                },
                driver: &io::Counters {
                    send_errors: [0, 0, 5, 0, 0, 0],
                    ..Default::default()
                },
                files: &files::Counters::default(),
                transfers_live: 4,
                generation,
            });
        }
        let number = |name: &str, class: Option<&str>| {
            together(&boards)
                .find(|(metric, _)| {
                    metric.name == name && metric.label.map(|(_, value)| value) == class
                })
                .map(|(_, number)| number)
        };
        assert_eq!(number("requests", None), Some(6));
        assert_eq!(number("driver_send_errors", Some("no_buffers")), Some(15));
        assert_eq!(number("transfers_live", None), Some(12));
        assert_eq!(number("catalog_generation", None), Some(7));
    }
}
