//! Strangers: datagrams that belong to nothing. Most come from addresses that never asked; some, where the
//! scenario wants it, with the voice of a terminal, which may be confused from then on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use daybreak_tftp::Time;
use daybreak_tftp::endpoint::{Path, SocketId};

use super::event::Event;
use super::host::Catalog;
use super::packet::{Body, ack, data, error, request};
use super::scenario::SERVER;
use super::simulator::World;

/// Most datagrams of strangers in one world.
const INTRUSIONS_MAX: u32 = 4_000;

impl World {
    /// One stranger does what strangers do, and another will.
    pub(super) fn intrude(&mut self) {
        let Some(plan) = self.scenario.intruders.clone() else {
            return;
        };
        if self.healed_at.is_some() || self.intruded >= INTRUSIONS_MAX {
            return;
        }
        let pause = self
            .dice
            .time(plan.every.start, plan.every.end.max(plan.every.start));
        self.schedule(self.now + pause, Event::Intrude);
        let times = if self.dice.chance(20) { plan.flood } else { 1 };
        for _ in 0..times {
            self.intruded += 1;
            match self.dice.below(if plan.spoof { 12 } else { 10 }) {
                0..=3 => self.strange_packet(),
                4..=6 => self.strange_request(),
                7..=9 => self.strange_answer(),
                _ => self.spoofed_packet(),
            }
        }
    }

    fn stranger(&mut self) -> SocketAddr {
        let host = self.dice.below(1 << 16);
        let address = Ipv4Addr::from(0xac10_0000 | u32::try_from(host).expect("16 bits"));
        SocketAddr::new(IpAddr::V4(address), self.dice.short(1, u16::MAX))
    }

    /// A terminal that has a transfer: its position, and the server's socket.
    fn victim(&mut self) -> Option<(usize, SocketId)> {
        let position = self.dice.count(0, self.terminals.len() - 1);
        let terminal = &self.terminals[position];
        let peer = terminal.download.as_ref()?.peer()?;
        let socket = self.scenario.server.socket(peer.port())?;
        Some((position, socket))
    }

    fn any_socket(&mut self) -> SocketId {
        let listeners = &self.scenario.server.listeners;
        let last = listeners
            .iter()
            .map(|listener| listener.transfer_sockets.end.max(listener.socket.0 + 1))
            .max();
        SocketId(self.dice.short(0, last.unwrap_or(1) - 1))
    }

    fn octets(&mut self) -> Vec<u8> {
        let number = self.dice.short(0, u16::MAX);
        let small = self.dice.short(0, 40);
        let mut octets = match self.dice.below(9) {
            0 | 1 => ack(small),
            2 => ack(number),
            3 => data(number, b"not from here"),
            4 => error(small % 10, "strange"),
            5 => vec![0, 6, b'x', 0, b'1', 0],
            6 => request("boot/image-0", "octet", &[("blksize", "1024")]),
            7 => {
                let len = self.dice.count(0, 64);
                self.dice.octets(len)
            }
            _ => {
                let len = self.dice.count(0, 1600);
                [vec![0, 1], self.dice.octets(len)].concat()
            }
        };
        // And whatever the wire may have done to it.
        if self.dice.chance(200) && !octets.is_empty() {
            let at = self.dice.count(0, octets.len() - 1);
            octets[at] ^= 1 << self.dice.below(8);
            if self.dice.chance(300) {
                octets.truncate(at);
            }
        }
        octets
    }

    fn reach_server(&mut self, socket: SocketId, remote: SocketAddr, octets: &[u8]) {
        let local = self.scenario.server.local_known.then_some(SERVER);
        let path = Path {
            socket,
            remote,
            local,
        };
        let at = self.now + Duration::from_micros(1);
        self.schedule(at, Event::ToServer(path, Body::octets(octets)));
    }

    /// To a transfer's socket, or to any.
    fn strange_packet(&mut self) {
        let remote = self.stranger();
        let victim = self.victim().map(|(_, socket)| socket);
        let socket = match victim {
            Some(socket) if self.dice.chance(700) => socket,
            _ => self.any_socket(),
        };
        let octets = self.octets();
        self.reach_server(socket, remote, &octets);
    }

    /// A request with odd options, once or again and again, by somebody who never answers.
    fn strange_request(&mut self) {
        const NAMES: [&str; 8] = [
            "blksize",
            "BLKSIZE",
            "timeout",
            "tsize",
            "windowsize",
            "rollover",
            "multicast",
            "x",
        ];
        const VALUES: [&str; 14] = [
            "0",
            "1",
            "2",
            "7",
            "8",
            "255",
            "256",
            "512",
            "65464",
            "65465",
            "65536",
            "-1",
            "",
            "99999999999999999999",
        ];
        let remote = self.stranger();
        let options: Vec<(&str, &str)> = (0..self.dice.below(6))
            .map(|_| (self.dice.one_of(&NAMES), self.dice.one_of(&VALUES)))
            .collect();
        let image = self.dice.count(0, self.scenario.images.len() - 1);
        let name = Catalog::name(image);
        let mode = self
            .dice
            .one_of(&["octet", "OcTeT", "netascii", "mail", ""]);
        let octets = request(&name, mode, &options);
        let socket = SocketId(u16::from(
            self.scenario.server.listeners.len() > 1 && self.dice.chance(300),
        ));
        for _ in 0..self.dice.one_of(&[1, 1, 2, 9]) {
            self.reach_server(socket, remote, &octets);
        }
    }

    /// To a terminal, from where its server is not.
    fn strange_answer(&mut self) {
        let Some((position, socket)) = self.victim() else {
            return;
        };
        let port = self.scenario.server.port(socket);
        let from = if self.dice.chance(500) {
            SocketAddr::new(self.stranger().ip(), port)
        } else {
            SocketAddr::new(self.terminals[position].plan.server.ip(), port ^ 0x4000)
        };
        let to = self.terminals[position].address();
        let octets = self.octets();
        let at: Time = self.now;
        self.schedule(at, Event::ToTerminal(to, from, Body::octets(&octets)));
    }

    /// With the voice of a terminal.
    fn spoofed_packet(&mut self) {
        let Some((position, socket)) = self.victim() else {
            return;
        };
        let terminal = &mut self.terminals[position];
        terminal.confused = true;
        let remote = terminal.address();
        let octets = self.octets();
        let socket = if self.dice.chance(700) {
            socket
        } else {
            self.any_socket()
        };
        // A request at another listener would be another transfer of the same port: not of this world.
        if !octets.starts_with(&[0, 1]) {
            self.reach_server(socket, remote, &octets);
        }
    }
}
