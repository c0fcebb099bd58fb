//! Who it was: notices of workers become events of the journal.
//!
//! A request carries no address of a network card. A client is attributed by that in the name that it asks for; else by its
//! source address, as long as that is known from such a request (acknowledged, so not by a forged source) or from what its network
//! card has said to DHCP servers; else it is anonymous. The event says which, and it is never a proof of identity.
//!
//! Runs on the journal's thread; time is an argument.

use core::net::IpAddr;

use daybreak_store::journal::{Client, Event, Source, Stage, Terminal, What, Why};
use daybreak_store::{Catalog, Mac};
use daybreak_tftp::Time;
use daybreak_tftp::endpoint::Outcome;

use crate::files::refused;
use crate::limits::{ADDRESS_KNOWN_FOR, ADDRESSES_MAX, BOOT_KNOWN_FOR, BOOTS_MAX};
use crate::names::{OwnKind, OwnName};
use crate::notice::{FileName, Notice, Told};
use crate::remembered::Remembered;
use crate::strangers::Strangers;

/// See the module.
#[derive(Debug)]
pub struct Recorder {
    addresses: Remembered<IpAddr, Mac>,
    boots: Remembered<Mac, Boot>,
    // Again, for all workers together.
    strangers: Strangers,
    refused: Strangers,
}

/// A boot that has begun.
#[derive(Debug)]
struct Boot {
    since: Time,
    octets: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder {
            addresses: Remembered::new(ADDRESSES_MAX, ADDRESS_KNOWN_FOR),
            boots: Remembered::new(BOOTS_MAX, BOOT_KNOWN_FOR),
            strangers: Strangers::default(),
            refused: Strangers::default(),
        }
    }
}

impl Recorder {
    /// The event of a notice, if it is one. `time_ms` is when the notice was made, by the wall clock.
    pub fn event(&mut self, notice: &Notice, time_ms: u64, catalog: &Catalog) -> Option<Event> {
        let what = match notice.what {
            Told::Started(file) => self.started(notice, &file, catalog),
            Told::Ended {
                file,
                outcome,
                octets,
                duration,
            } => {
                let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                self.ended(notice, &file, (outcome, octets, duration_ms), catalog)
            }
            Told::Stranger(mac, file) => {
                self.strangers
                    .tell(notice.now, mac)
                    .then(|| What::UnknownTerminal {
                        client: client(notice, Some(mac), Source::Name, catalog),
                        file: file.to_string(),
                    })
            }
            Told::Takes(mac) => {
                self.addresses.put(notice.now, notice.client, mac);
                None
            }
            Told::Refused(mac, file, why) => {
                self.refused
                    .tell(notice.now, mac)
                    .then(|| What::BootRefused {
                        client: client(notice, Some(mac), Source::Name, catalog),
                        file: file.to_string(),
                        why,
                    })
            }
            Told::Reported(mac, report) => Some(What::Status {
                client: client(notice, Some(mac), Source::Key, catalog),
                report,
            }),
        };
        Some(Event {
            time_ms,
            what: what?,
        })
    }

    fn started(&mut self, notice: &Notice, file: &FileName, catalog: &Catalog) -> Option<What> {
        let own = OwnName::parse(file.as_bytes())?;
        self.addresses.put(notice.now, notice.client, own.mac);
        let known = catalog.terminal(own.mac);
        // A script that says why it does not boot from here begins no boot.
        let is_refused = known.is_some_and(|known| refused(&known).is_some());
        if own.kind == OwnKind::Configuration || is_refused {
            return None;
        }
        let boot = Boot {
            since: notice.now,
            octets: 0,
        };
        self.boots.put(notice.now, own.mac, boot);
        Some(What::BootStarted {
            client: client(notice, Some(own.mac), Source::Name, catalog),
            file: file.to_string(),
        })
    }

    fn ended(
        &mut self,
        notice: &Notice,
        file: &FileName,
        (outcome, octets, duration_ms): (Outcome, u64, u64),
        catalog: &Catalog,
    ) -> Option<What> {
        let why = match outcome {
            // Firmware that has everything often starts it without the last ACK.
            Outcome::Completed | Outcome::Unconfirmed => None,
            Outcome::Aborted(code) => Some(Why::Aborted(code.0)),
            Outcome::TimedOut => Some(Why::TimedOut),
            Outcome::SendFailed => Some(Why::SendFailed),
            Outcome::ShutDown => Some(Why::ShutDown),
            // The client goes on with another request, which is told.
            Outcome::Probe | Outcome::Replaced => return None,
        };
        let now = notice.now;
        let own = OwnName::parse(file.as_bytes());
        let (mac, source) = match own {
            Some(own) => (Some(own.mac), Source::Name),
            None => match self.addresses.find(now, &notice.client) {
                Some(mac) => (Some(*mac), Source::Address),
                None => (None, Source::Anonymous),
            },
        };
        let client = client(notice, mac, source, catalog);
        let file_name = file.to_string();
        if let Some(why) = why {
            return Some(What::BootFailed {
                client,
                file: file_name,
                octets,
                duration_ms,
                why,
            });
        }
        if let Some(own) = own {
            self.addresses.put(now, notice.client, own.mac);
        }
        if let Some(boot) = mac.and_then(|mac| self.boots.find(now, &mac)) {
            boot.octets += octets;
        }
        let stage = match own {
            Some(OwnName {
                kind: OwnKind::Configuration,
                mac,
            }) => {
                let boot = self.boots.take(now, &mac).map(|boot| {
                    let millis = now.since(boot.since).as_millis();
                    (boot.octets, u64::try_from(millis).unwrap_or(u64::MAX))
                });
                return Some(What::BootFinished {
                    client,
                    file: file_name,
                    octets,
                    duration_ms,
                    boot,
                });
            }
            Some(_) => Stage::Script,
            None if file.as_bytes().starts_with(b"firmware/") => Stage::Firmware,
            None => Stage::Other,
        };
        Some(What::Progress {
            client,
            stage,
            file: file_name,
            octets,
            duration_ms,
        })
    }
}

fn client(notice: &Notice, mac: Option<Mac>, source: Source, catalog: &Catalog) -> Client {
    let known = mac.and_then(|mac| catalog.terminal(mac));
    Client {
        address: Some(notice.client),
        server: notice.server,
        mac,
        source,
        terminal: known.map(|known| Terminal {
            id: known.id.to_owned(),
            name: known.name.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::collections::BTreeMap;

    use daybreak_store::{Generation, Snapshot, SnapshotBuilder, StatusKey, StoredTerminal};
    use daybreak_tftp::wire::ErrorCode;

    use super::*;

    const CARD: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);
    const SCRIPT: &str = "boot/52:54:00:00:00:01.ipxe";
    const CONFIGURATION: &str = "terminals/52:54:00:00:00:01.json";

    fn catalog() -> Catalog {
        catalog_of(true, false)
    }

    fn catalog_of(seated: bool, standby: bool) -> Catalog {
        let mut builder = SnapshotBuilder::new();
        let kiosk = StoredTerminal {
            id: "id-1".into(),
            name: "kiosk-1".into(),
            status_key: StatusKey::NONE,
            enabled: true,
            seated,
            standby,
        };
        builder.set_terminals(BTreeMap::from([(CARD, kiosk)]));
        let generation = Generation::new(1).expect("in range");
        let file = builder.build(generation).expect("a catalog");
        Catalog::detached(Snapshot::parse(file).expect("a catalog"))
    }

    /// Tells a recorder what happened at a second, from an address that ends with a number.
    struct Telling(Recorder, Catalog);

    impl Telling {
        fn new() -> Self {
            Telling(Recorder::default(), catalog())
        }

        fn tell(&mut self, second: u64, host: u8, what: Told) -> Option<What> {
            let notice = Notice {
                now: Time::ZERO + Duration::from_secs(second),
                client: IpAddr::from([192, 0, 2, host]),
                server: None,
                what,
            };
            let event = self.0.event(&notice, 7, &self.1)?;
            assert_eq!(event.time_ms, 7);
            Some(event.what)
        }

        fn started(&mut self, second: u64, host: u8, file: &str) -> Option<What> {
            self.tell(second, host, Told::Started(FileName::of(file.as_bytes())))
        }

        fn ended(&mut self, second: u64, host: u8, file: &str, outcome: Outcome) -> Option<What> {
            let ended = Told::Ended {
                file: FileName::of(file.as_bytes()),
                outcome,
                octets: 100,
                duration: Duration::from_millis(5),
            };
            self.tell(second, host, ended)
        }
    }

    fn who(what: Option<What>) -> (Source, Option<String>) {
        let what = what.expect("an event");
        let client = what.client().expect("a client");
        let terminal = client
            .terminal
            .as_ref()
            .map(|terminal| terminal.name.clone());
        (client.source, terminal)
    }

    #[test]
    fn a_boot_is_followed_from_its_script_to_its_configuration() {
        let mut told = Telling::new();
        let started = told.started(1, 1, SCRIPT);
        assert!(matches!(started, Some(What::BootStarted { .. })));
        assert_eq!(who(started), (Source::Name, Some("kiosk-1".into())));
        let script = told.ended(2, 1, SCRIPT, Outcome::Completed);
        assert!(matches!(
            script,
            Some(What::Progress {
                stage: Stage::Script,
                ..
            })
        ));
        let firmware = told.ended(5, 1, "firmware/linux/1/vmlinuz", Outcome::Completed);
        assert!(matches!(
            firmware,
            Some(What::Progress {
                stage: Stage::Firmware,
                ..
            })
        ));
        assert_eq!(who(firmware), (Source::Address, Some("kiosk-1".into())));
        assert_eq!(told.started(8, 1, CONFIGURATION), None);
        let finished = told.ended(9, 1, CONFIGURATION, Outcome::Completed);
        assert!(
            matches!(
                finished,
                Some(What::BootFinished {
                    boot: Some((300, 8000)),
                    octets: 100,
                    ..
                })
            ),
            "{finished:?}"
        );
        // The configuration alone, later: no boot is known.
        let again = told.ended(99, 1, CONFIGURATION, Outcome::Completed);
        assert!(matches!(again, Some(What::BootFinished { boot: None, .. })));
    }

    #[test]
    fn a_script_that_says_why_it_does_not_boot_from_here_begins_no_boot() {
        for (seated, standby) in [(false, false), (true, true), (false, true)] {
            let mut told = Telling(Recorder::default(), catalog_of(seated, standby));
            assert_eq!(told.started(1, 1, SCRIPT), None);
            let script = told.ended(2, 1, SCRIPT, Outcome::Completed);
            assert_eq!(who(script), (Source::Name, Some("kiosk-1".into())));
        }
    }

    #[test]
    fn a_client_is_known_by_the_name_else_by_its_address_for_a_while_else_not() {
        let mut told = Telling::new();
        let other = told.ended(0, 1, "vmlinuz", Outcome::Completed);
        assert_eq!(who(other), (Source::Anonymous, None));
        told.started(1, 1, SCRIPT);
        let end = 1 + ADDRESS_KNOWN_FOR.as_secs();
        let known = told.ended(end - 1, 1, "vmlinuz", Outcome::Completed);
        assert_eq!(who(known), (Source::Address, Some("kiosk-1".into())));
        let forgotten = told.ended(end, 1, "vmlinuz", Outcome::Completed);
        assert_eq!(who(forgotten), (Source::Anonymous, None));
        let elsewhere = told.ended(2, 2, "vmlinuz", Outcome::Completed);
        assert_eq!(who(elsewhere), (Source::Anonymous, None));
        // Another terminal has got the address.
        let stranger = "boot/52:54:00:00:00:02.ipxe";
        told.started(3, 1, stranger);
        let other = told.ended(4, 1, "vmlinuz", Outcome::Completed);
        assert_eq!(who(other), (Source::Address, None));
    }

    #[test]
    fn a_client_is_known_by_the_address_that_its_card_took_from_a_dhcp_server() {
        let mut told = Telling::new();
        assert_eq!(told.tell(1, 1, Told::Takes(CARD)), None);
        let known = told.ended(2, 1, "undionly.kpxe", Outcome::Completed);
        assert_eq!(who(known), (Source::Address, Some("kiosk-1".into())));
        // Another card has it since.
        told.tell(3, 1, Told::Takes(Mac([2, 0, 0, 0, 0, 9])));
        let other = told.ended(4, 1, "undionly.kpxe", Outcome::Completed);
        assert_eq!(who(other), (Source::Address, None));
    }

    #[test]
    fn a_failure_says_why_and_what_is_no_failure_is_not_told() {
        let mut told = Telling::new();
        for (outcome, wanted) in [
            (Outcome::TimedOut, Why::TimedOut),
            (Outcome::Aborted(ErrorCode(3)), Why::Aborted(3)),
            (Outcome::SendFailed, Why::SendFailed),
            (Outcome::ShutDown, Why::ShutDown),
        ] {
            let failed = told.ended(1, 1, SCRIPT, outcome);
            assert!(matches!(failed, Some(What::BootFailed { why, .. }) if why == wanted));
        }
        for outcome in [Outcome::Probe, Outcome::Replaced] {
            assert_eq!(told.ended(1, 1, SCRIPT, outcome), None);
        }
        // A source that never acknowledged anything teaches nothing.
        let other = told.ended(2, 1, "vmlinuz", Outcome::Completed);
        assert_eq!(who(other), (Source::Anonymous, None));
    }

    #[test]
    fn an_unknown_card_is_told_once_a_minute_whichever_worker_it_asked() {
        let mut told = Telling::new();
        let stranger = Told::Stranger(Mac([2, 0, 0, 0, 0, 9]), FileName::of(b"boot/x"));
        assert!(told.tell(1, 1, stranger).is_some());
        assert!(told.tell(2, 1, stranger).is_none());
        assert!(told.tell(61, 1, stranger).is_some());
    }
}
