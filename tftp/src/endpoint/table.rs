//! The transfers of an `Endpoint`: a slab, and the way to a slot from the two addresses of a datagram.
//!
//! A transfer is found by (our socket, the client's address and port). It has two such keys: the listener that
//! its request came to, by which a repeated request is known, and the socket it is served from; in
//! single-port mode the two are one.

use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::net::{IpAddr, SocketAddr};

use hashbrown::HashMap;
use siphasher::sip::SipHasher13;

use super::transfer::Transfer;
use super::{SocketId, TransferId};

/// Keyed hashing: a client cannot choose addresses or requests that collide.
#[derive(Clone, Debug)]
pub(super) struct Keyed(pub(super) [u8; 16]);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    ip: [u8; 16],
    port: u16,
    socket: u16,
}

impl Key {
    pub(super) fn new(socket: SocketId, remote: SocketAddr) -> Self {
        Key {
            ip: octets(remote.ip()),
            port: remote.port(),
            socket: socket.0,
        }
    }
}

/// An address as a key.
pub(super) fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table<F> {
    slots: Vec<Option<Transfer<F>>>,
    free: Vec<u32>,
    by_key: HashMap<Key, u32, Keyed>,
    half_open: HashMap<[u8; 16], u32, Keyed>,
    serial: u32,
}

impl<F> Table<F> {
    pub(super) fn new(hasher: &Keyed) -> Self {
        Table {
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::with_hasher(hasher.clone()),
            half_open: HashMap::with_hasher(hasher.clone()),
            serial: 0,
        }
    }

    /// Transfers held, lingering ones included.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn find(&self, key: Key) -> Option<u32> {
        self.by_key.get(&key).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Transfer<F>> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Transfer<F>> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The slot of a transfer, if it still exists.
    pub(super) fn slot_of(&self, id: TransferId) -> Option<u32> {
        self.get(id.slot)
            .filter(|transfer| transfer.id == id)
            .map(|_| id.slot)
    }

    /// Every slot in use.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> + use<F> {
        let used: Vec<u32> = (0..)
            .zip(&self.slots)
            .filter_map(|(slot, transfer)| transfer.is_some().then_some(slot))
            .collect();
        used.into_iter()
    }

    /// Puts a transfer in: it is found by both its keys from now on, whatever was found by them before.
    pub(super) fn insert(&mut self, make: impl FnOnce(TransferId) -> Transfer<F>) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("bounded by transfers_max")
        });
        let transfer = make(TransferId {
            slot,
            serial: self.serial,
        });
        for key in transfer.keys() {
            self.by_key.insert(key, slot);
        }
        self.slots[slot as usize] = Some(transfer);
        slot
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Transfer<F>> {
        let transfer = self.slots.get_mut(slot as usize)?.take()?;
        for key in transfer.keys() {
            if self.by_key.get(&key) == Some(&slot) {
                self.by_key.remove(&key);
            }
        }
        self.free.push(slot);
        Some(transfer)
    }

    /// Transfers of a source that have not been acknowledged yet.
    pub(super) fn half_open_of(&self, source: IpAddr) -> u32 {
        self.half_open.get(&octets(source)).copied().unwrap_or(0)
    }

    pub(super) fn half_open_add(&mut self, source: IpAddr) {
        *self.half_open.entry(octets(source)).or_insert(0) += 1;
    }

    pub(super) fn half_open_remove(&mut self, source: IpAddr) {
        let source = octets(source);
        if let Some(count) = self.half_open.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.half_open.remove(&source);
            }
        }
    }
}
