//! Binds the sockets of all workers: a listener for each worker and address, and transfer sockets on ports that
//! nobody can guess.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use daybreak_tftp::endpoint::{Listener, SocketId};

use crate::io::{CutShort, Sharing, Socket, SocketOptions};
use crate::limits;

/// What to bind.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where requests arrive.
    pub listen: Vec<Wanted>,
    /// How many workers.
    pub workers: usize,
    /// Transfer sockets of one worker and one IP address; none: single-port mode.
    pub transfer_sockets: u16,
    /// Forbid fragments.
    pub dont_fragment: bool,
    /// Receive buffer of a listener, in octets.
    pub listener_receive_bytes: usize,
    /// Receive buffer of a transfer socket, in octets.
    pub transfer_receive_bytes: usize,
    /// Send buffer, in octets.
    pub send_bytes: usize,
}

/// One listening address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The address; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// Whether the engine may do without it where the kernel does not know its family.
    pub optional: bool,
}

/// What was bound.
#[derive(Debug)]
pub struct Bound {
    /// Of each worker.
    pub workers: Vec<WorkerSockets>,
    /// Where requests arrive.
    pub addresses: Vec<SocketAddr>,
    /// Optional addresses whose family the kernel does not know.
    pub skipped: Vec<SocketAddr>,
    /// The buffers that were cut short most, one for each sysctl.
    pub cut_short: Vec<CutShort>,
}

/// The sockets of one worker.
#[derive(Clone, Debug)]
pub struct WorkerSockets {
    /// By their positions.
    pub sockets: Arc<[Socket]>,
    /// Which of them are for what.
    pub listeners: Vec<Listener>,
}

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind {address}: {source}")]
pub struct BindError {
    /// Which.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Binds everything of a plan. `random` gives unpredictable numbers.
///
/// # Errors
/// The first address that cannot be bound.
pub fn bind(plan: &Plan, random: &mut dyn FnMut() -> u32) -> Result<Bound, BindError> {
    let mut binder = Binder {
        plan,
        random,
        cut_short: BTreeMap::new(),
    };
    let (mut addresses, mut skipped, mut firsts) = (Vec::new(), Vec::new(), Vec::new());
    for wanted in &plan.listen {
        match binder.listener(wanted.address, Sharing::First) {
            Ok(first) => {
                addresses.push(first.local());
                firsts.push(first);
            }
            Err(error) if wanted.optional && is_family_unknown(&error.source) => {
                skipped.push(wanted.address);
            }
            Err(error) => return Err(error),
        }
    }
    let mut workers = vec![binder.worker(firsts)?];
    for _ in 1..plan.workers {
        let followers: Result<Vec<_>, _> = addresses
            .iter()
            .map(|&address| binder.listener(address, Sharing::Follower))
            .collect();
        workers.push(binder.worker(followers?)?);
    }
    let cut_short = binder.cut_short.into_values().collect();
    Ok(Bound {
        workers,
        addresses,
        skipped,
        cut_short,
    })
}

fn is_family_unknown(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

struct Binder<'a> {
    plan: &'a Plan,
    random: &'a mut dyn FnMut() -> u32,
    cut_short: BTreeMap<&'static str, CutShort>,
}

impl Binder<'_> {
    fn listener(&mut self, address: SocketAddr, sharing: Sharing) -> Result<Socket, BindError> {
        self.bind(address, sharing, self.plan.listener_receive_bytes)
            .map_err(|source| BindError { address, source })
    }

    fn bind(
        &mut self,
        address: SocketAddr,
        sharing: Sharing,
        receive_bytes: usize,
    ) -> io::Result<Socket> {
        let options = SocketOptions {
            receive_bytes,
            send_bytes: self.plan.send_bytes,
            dont_fragment: self.plan.dont_fragment,
        };
        let (socket, cut_short) = Socket::bind(address, sharing, &options)?;
        for cut in cut_short {
            let worst = self.cut_short.entry(cut.sysctl).or_insert(cut);
            if cut.asked > worst.asked {
                *worst = cut;
            }
        }
        Ok(socket)
    }

    /// The listeners of a worker, and the transfer sockets they need: listeners of one IP address share them.
    fn worker(&mut self, listeners: Vec<Socket>) -> Result<WorkerSockets, BindError> {
        let mut sockets = listeners;
        let mut pools: BTreeMap<IpAddr, std::ops::Range<u16>> = BTreeMap::new();
        let mut described = Vec::new();
        for position in 0..sockets.len() {
            let local = sockets[position].local();
            let pool = match pools.get(&local.ip()) {
                Some(pool) => pool.clone(),
                None => {
                    let start = id(sockets.len());
                    for _ in 0..self.plan.transfer_sockets {
                        sockets.push(self.transfer(local)?);
                    }
                    pools.insert(local.ip(), start..id(sockets.len()));
                    start..id(sockets.len())
                }
            };
            described.push(Listener {
                socket: SocketId(id(position)),
                transfer_sockets: pool,
            });
        }
        Ok(WorkerSockets {
            sockets: sockets.into(),
            listeners: described,
        })
    }

    /// A transfer socket on a random port of the dynamic range.
    fn transfer(&mut self, listener: SocketAddr) -> Result<Socket, BindError> {
        let (first, last) = limits::TRANSFER_PORTS.into_inner();
        let mut address = listener;
        for attempt in 0..=limits::RANDOM_PORT_TRIES {
            let offset = (self.random)() % (u32::from(last - first) + 1);
            // The last attempt takes what the kernel gives.
            address.set_port(if attempt == limits::RANDOM_PORT_TRIES {
                0
            } else {
                first + u16::try_from(offset).expect("within the range")
            });
            match self.bind(address, Sharing::Alone, self.plan.transfer_receive_bytes) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                result => return result.map_err(|source| BindError { address, source }),
            }
        }
        Err(BindError {
            address,
            source: io::ErrorKind::AddrInUse.into(),
        })
    }
}

fn id(position: usize) -> u16 {
    u16::try_from(position).expect("bounded by LISTENERS_MAX and TRANSFER_SOCKETS_MAX")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(listen: &[&str], workers: usize, transfer_sockets: u16) -> Plan {
        let wanted = |text: &&str| Wanted {
            address: text.parse().unwrap(),
            optional: false,
        };
        Plan {
            listen: listen.iter().map(wanted).collect(),
            workers,
            transfer_sockets,
            dont_fragment: false,
            listener_receive_bytes: 1 << 16,
            transfer_receive_bytes: 1 << 16,
            send_bytes: 1 << 16,
        }
    }

    /// Ports that no other test run tries in the same order.
    fn sequence() -> impl FnMut() -> u32 {
        let mut state = std::process::id();
        move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        }
    }

    #[test]
    fn workers_share_the_listening_ports_and_no_transfer_port() {
        let plan = plan(&["127.0.0.1:0", "127.0.0.1:0", "127.0.0.2:0"], 2, 3);
        let bound = bind(&plan, &mut sequence()).unwrap();
        assert_eq!(bound.addresses.len(), 3);
        let mut ports = Vec::new();
        for worker in &bound.workers {
            // Three listeners, and three transfer sockets for each of two addresses.
            assert_eq!(worker.sockets.len(), 3 + 2 * 3);
            for (position, address) in bound.addresses.iter().enumerate() {
                assert_eq!(worker.sockets[position].local(), *address);
            }
            assert_eq!(
                worker.listeners[0].transfer_sockets,
                worker.listeners[1].transfer_sockets
            );
            for listener in &worker.listeners {
                let address = worker.sockets[usize::from(listener.socket.0)].local();
                for transfer in listener.transfer_sockets.clone() {
                    let transfer = worker.sockets[usize::from(transfer)].local();
                    assert_eq!(transfer.ip(), address.ip());
                    assert!(limits::TRANSFER_PORTS.contains(&transfer.port()));
                    ports.push(transfer);
                }
            }
        }
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 2 * 2 * 3);
    }

    #[test]
    fn a_port_that_another_engine_has_is_in_use() {
        let first = bind(&plan(&["127.0.0.1:0"], 2, 0), &mut sequence()).unwrap();
        let address = first.addresses[0].to_string();
        let error = bind(&plan(&[&address], 2, 0), &mut sequence()).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(error.address, first.addresses[0]);
    }

    #[test]
    fn a_port_that_is_taken_is_passed_over() {
        let taken = std::cell::Cell::new(0_u32);
        let mut same = || {
            taken.set(taken.get() + 1);
            7777 + taken.get() / 3
        };
        let bound = bind(&plan(&["127.0.0.3:0"], 1, 4), &mut same).unwrap();
        assert_eq!(bound.workers[0].sockets.len(), 5);
    }
}
