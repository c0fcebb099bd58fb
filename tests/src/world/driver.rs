//! The server's driver: hands datagrams and time to the endpoint, and sends what it gives, with the troubles that a
//! kernel makes. Everything passes the observer.

use std::time::Duration;

use daybreak_tftp::Time;
use daybreak_tftp::endpoint::{Event as Told, Path, Payload, TransferId, Unsendable};

use super::event::{Event, Stage};
use super::failure::{Check, check};
use super::monitors::check_train;
use super::observer::Heard;
use super::packet::{Block, Body};
use super::simulator::World;

/// How soon the driver goes on when it had no room for all.
const ROOM_AGAIN: Duration = Duration::from_micros(20);
/// Times that a timer may be due again at the same moment.
const SAME_MOMENT_MAX: u32 = 8;

/// A datagram that the endpoint wants sent.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Where to.
    pub path: Path,
    /// What.
    pub body: Body,
    /// The kernel takes it.
    pub leaves: bool,
}

impl World {
    /// A datagram arrives at the server.
    pub(super) fn arrive(&mut self, path: Path, body: Body) -> Check {
        if self.scenario.server.turn.is_zero() {
            return self.hand_over(path, &body);
        }
        self.inbox.push_back((path, body));
        self.turn_within(self.scenario.server.turn);
        Ok(())
    }

    fn turn_within(&mut self, delay: Duration) {
        if self.turn_at.is_none() {
            self.turn_at = Some(self.now + delay);
            self.schedule(self.now + delay, Event::Turn);
        }
    }

    /// The driver's turn: all that has arrived, then what is due.
    pub(super) fn turn(&mut self) -> Check {
        self.turn_at = None;
        while let Some((path, body)) = self.inbox.pop_front() {
            self.hand(path, &body)?;
        }
        self.serve()
    }

    /// A turn for one datagram: what comes of it is known to come of it.
    fn hand_over(&mut self, path: Path, body: &Body) -> Check {
        // What was due anyway comes before.
        self.serve()?;
        let before = self.endpoint.counters().trains_sent;
        let heard = self.hand(path, body)?;
        let replies = self.serve_counted()?;
        if matches!(heard, Heard::Foreign | Heard::StrangeError) {
            let data = self.endpoint.counters().trains_sent - before;
            check("T5", data == 0 && replies <= 1, || {
                format!("{path:?} brought {data} trains and {replies} datagrams, by {body:?}")
            })?;
        }
        let error = matches!(heard, Heard::Error | Heard::StrangeError);
        check("T5", !error || replies == 0, || {
            format!("an ERROR was answered: {path:?}")
        })
    }

    fn hand(&mut self, path: Path, body: &Body) -> Result<Heard, super::Failure> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let octets = body.read(&mut buffer);
        if let Some(tamper) = &mut self.tamper {
            tamper(Stage::Hears(path, octets));
        }
        let heard = self.observer.hears(self.now, path, octets);
        self.endpoint
            .handle_datagram(self.now, path, octets, &mut self.catalog);
        if heard == Heard::Request {
            let opening = self.catalog.take_opening();
            let round_trip = self.round_trip(path);
            self.observer
                .answers(self.now, path, octets, opening, round_trip)?;
        }
        self.buffer = buffer;
        self.read_events()?;
        Ok(heard)
    }

    fn round_trip(&self, path: Path) -> Duration {
        let position = self.by_address.get(&path.remote);
        position.map_or(Duration::ZERO, |&position| {
            self.terminals[position].plan.delay * 2
        })
    }

    fn read_events(&mut self) -> Check {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Told::Ended(ended) => self.observer.ends(self.now, &ended)?,
                Told::Started { path, file, .. } => {
                    let session = self.observer.session(path.remote, path.socket.0);
                    let right = session.is_some_and(|s| s.answered && s.key == file.key);
                    check("T10", right, || {
                        format!("{path:?} is said to have answered, and has not")
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Time, and everything that is to be sent now.
    pub(super) fn serve(&mut self) -> Check {
        self.serve_counted().map(|_| ())
    }

    /// As [`serve`](Self::serve); how many datagrams left that are no DATA.
    fn serve_counted(&mut self) -> Result<usize, super::Failure> {
        let mut replies = 0;
        for again in 0.. {
            let due = |at: Time| at <= self.now;
            if self.endpoint.poll_timeout().is_some_and(due) {
                check("T7", again < SAME_MOMENT_MAX, || {
                    format!("a timer is due again and again at {:?}", self.now)
                })?;
                self.endpoint.handle_timeout(self.now);
                self.read_events()?;
            } else if again > 0 {
                break;
            }
            let (sent, unreadable, whole) = self.collect()?;
            replies += self.send(sent)?;
            for transfer in unreadable {
                self.endpoint
                    .handle_send_failure(self.now, transfer, Unsendable::Unreadable);
                self.read_events()?;
                let (sent, ..) = self.collect()?;
                replies += self.send(sent)?;
            }
            if !whole {
                self.turn_within(ROOM_AGAIN);
                return Ok(replies);
            }
        }
        self.observer.turn_ends();
        self.arm_server();
        Ok(replies)
    }

    /// What the endpoint has to send, as far as there is room; the transfers whose image could not be read; and
    /// whether that was all.
    fn collect(&mut self) -> Result<(Vec<Sending>, Vec<TransferId>, bool), super::Failure> {
        let (mut sent, mut unreadable) = (Vec::new(), Vec::new());
        let faults = self.healed_at.is_none().then_some(self.scenario.driver);
        let faults = faults.unwrap_or_default();
        let mut room = self.scenario.server.room;
        while room > 0
            && let Some(transmit) = self.endpoint.poll_transmit(self.now)
        {
            room -= 1;
            let path = transmit.path;
            let mut train = match transmit.payload {
                Payload::Packet(packet) => {
                    let body = Body::octets(packet);
                    let leaves = true;
                    sent.push(Sending { path, body, leaves });
                    continue;
                }
                Payload::Train(train) => train,
            };
            if let Some(tamper) = &mut self.tamper {
                tamper(Stage::Leaves(&mut train));
            }
            check_train(&train)?;
            let leaving = if self.dice.chance(faults.unreadable) {
                unreadable.push(train.transfer);
                0
            } else if self.dice.chance(faults.vanish) {
                0
            } else if self.dice.chance(faults.cut) {
                self.dice.short(0, train.count - 1)
            } else {
                train.count
            };
            sent.extend((0..train.count).map(|position| Sending {
                path,
                body: Body::Block(Block::of(&train, position)),
                leaves: position < leaving,
            }));
        }
        if let Some(tamper) = &mut self.tamper {
            tamper(Stage::Sends(&mut sent));
        }
        Ok((sent, unreadable, room > 0))
    }

    /// Shows everything to the observer, and puts it on the wire; how many datagrams were no DATA.
    fn send(&mut self, sent: Vec<Sending>) -> Result<usize, super::Failure> {
        let mut replies = 0;
        for Sending { path, body, leaves } in sent {
            self.observer.sends(self.now, path, &body)?;
            replies += usize::from(matches!(body, Body::Octets(_)));
            if leaves {
                self.send_down(path, body);
            }
        }
        Ok(replies)
    }
}
