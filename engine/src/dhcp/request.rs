//! What a client asks: the parts of a DHCP message that matter to a boot server.
//!
//! The fixed fields and the framing of options are read by `dhcproto`, what stands in an option here: its typed options end the
//! list at the first one that it does not like, and know one architecture where RFC 4578 allows several.

use std::net::Ipv4Addr;

use daybreak_store::Mac;
use dhcproto::v4::borrowed::{DhcpOption, DhcpOptionIterator, Message};
use dhcproto::v4::{Flags, HType, MAGIC, MessageType, Opcode, OptionCode};

use super::Silence;
use crate::limits::{DHCP_ARCHITECTURES_MAX, DHCP_MACHINE_BYTES_MAX};

/// The sub-option of option 43 that names a boot server's type (PXE 2.1: PXE_BOOT_ITEM).
const BOOT_ITEM: u8 = 71;

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What kind of message it is.
    pub kind: MessageType,
    /// The transaction.
    pub xid: u32,
    /// As they came: an answer has the same.
    pub flags: Flags,
    /// The network card.
    pub mac: Mac,
    /// The client's own address, if it says one.
    pub client: Ipv4Addr,
    /// The relay that passed it on; zero: none.
    pub relay: Ipv4Addr,
    /// What asks, if it is firmware that boots from a network.
    pub firmware: Option<Firmware>,
    /// The address that the client takes, or keeps, with this message.
    pub takes: Option<Ipv4Addr>,
    /// Its machine's identifier (option 97), to be said again.
    pub machine: Option<Vec<u8>>,
    /// What the relay adds for itself (option 82), to be said again.
    pub relay_information: Option<Vec<u8>>,
    /// The type of boot server that it wants (in option 43), to be said again.
    pub boot_item: Option<[u8; 4]>,
    /// The options that it wants (option 55).
    pub wants: Vec<u8>,
}

/// What asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// PXE firmware, of the first of these that there is a file for.
    Pxe(Vec<Architecture>),
    /// UEFI that boots by HTTP, likewise.
    Http(Vec<Architecture>),
    /// iPXE, which wants a script: it would go round in a circle with the program that it is itself.
    Ipxe,
}

/// What a machine is, as far as its firmware goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// PC with BIOS.
    X86Bios,
    /// 32-bit PC with UEFI.
    X86Uefi,
    /// 64-bit PC with UEFI.
    X64Uefi,
    /// 64-bit ARM with UEFI.
    Arm64Uefi,
    /// ARM with U-Boot.
    ArmUboot,
}

impl Architecture {
    /// The word that the administration has for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Architecture::X86Bios => "x86-bios",
            Architecture::X86Uefi => "x86-uefi",
            Architecture::X64Uefi => "x86-64-uefi",
            Architecture::Arm64Uefi => "arm64-uefi",
            Architecture::ArmUboot => "arm-uboot",
        }
    }

    /// By the number of IANA's registry (RFC 5970), which RFC 4578 began.
    fn of(number: u16) -> Option<Self> {
        Some(match number {
            0 => Architecture::X86Bios,
            6 | 15 => Architecture::X86Uefi,
            // Many say 7 (byte code) and are x64.
            7 | 9 | 16 | 17 => Architecture::X64Uefi,
            11 | 19 => Architecture::Arm64Uefi,
            21 | 22 => Architecture::ArmUboot,
            _ => return None,
        })
    }
}

impl Request {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Silence::Malformed`], and [`Silence::NotOurs`] for what no client with a network card of six octets has sent.
    pub fn parse(datagram: &[u8]) -> Result<Self, Silence> {
        let message = Message::new(datagram).map_err(|_| Silence::Malformed)?;
        if message.opcode() != Opcode::BootRequest || datagram[236..240] != MAGIC {
            return Err(Silence::NotOurs);
        }
        // The codec trusts the length of the address.
        if message.htype() != HType::Eth || usize::from(message.hlen()) != size_of::<Mac>() {
            return Err(Silence::NotOurs);
        }
        let mac = Mac(message.chaddr().try_into().expect("its length was checked"));
        let options = Options::parse(datagram)?;
        let kind = options.kind.ok_or(Silence::Malformed)?;
        let firmware = options.firmware()?;
        let takes = options.requested.or(Some(message.ciaddr()));
        Ok(Request {
            kind,
            xid: message.xid(),
            flags: message.flags(),
            mac,
            client: message.ciaddr(),
            relay: message.giaddr(),
            firmware,
            takes: takes.filter(|address| kind == MessageType::Request && is_hosts(*address)),
            machine: options.machine,
            relay_information: options.relay_information,
            boot_item: options.boot_item,
            wants: options.wants,
        })
    }
}

/// Whether this is what a ProxyDHCP server sends to a client: an offer to boot, without an address.
#[must_use]
pub fn is_proxy_offer(datagram: &[u8]) -> bool {
    let Ok(message) = Message::new(datagram) else {
        return false;
    };
    message.opcode() == Opcode::BootReply
        && datagram[236..240] == MAGIC
        && message.yiaddr().is_unspecified()
        && Options::parse(datagram).is_ok_and(|options| {
            let classes = [&b"PXEClient"[..], b"HTTPClient"];
            let offers = options.kind == Some(MessageType::Offer);
            offers && classes.iter().any(|class| options.class.starts_with(class))
        })
}

/// Whether a single machine can have this address.
pub(super) fn is_hosts(address: Ipv4Addr) -> bool {
    !(address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_loopback())
}

/// The options that matter.
#[derive(Default)]
struct Options {
    kind: Option<MessageType>,
    class: Vec<u8>,
    user_class: Vec<u8>,
    is_ipxe: bool,
    architectures: Option<Vec<u16>>,
    requested: Option<Ipv4Addr>,
    machine: Option<Vec<u8>>,
    relay_information: Option<Vec<u8>>,
    boot_item: Option<[u8; 4]>,
    wants: Vec<u8>,
    overload: u8,
}

impl Options {
    /// From where options stand: behind the fixed fields, and in the fields `file` and `sname` where option 52 says so.
    fn parse(datagram: &[u8]) -> Result<Self, Silence> {
        const SNAME: std::ops::Range<usize> = 44..108;
        const FILE: std::ops::Range<usize> = 108..236;
        let mut options = Options::default();
        options.take_all(&datagram[240..])?;
        let overload = options.overload;
        for (bit, field) in [(1, FILE), (2, SNAME)] {
            if overload & bit != 0 {
                options.take_all(&datagram[field])?;
            }
        }
        Ok(options)
    }

    fn take_all(&mut self, octets: &[u8]) -> Result<(), Silence> {
        DhcpOptionIterator::new(octets).try_for_each(|option| self.take(&option))
    }

    fn take(&mut self, option: &DhcpOption<'_>) -> Result<(), Silence> {
        let data = option.data();
        match option.code() {
            OptionCode::MessageType => {
                let &[kind] = data else {
                    return Err(Silence::Malformed);
                };
                self.kind = Some(kind.into());
            }
            OptionCode::ClassIdentifier => self.class = data.to_vec(),
            OptionCode::UserClass => self.user_class = data.to_vec(),
            OptionCode::ClientSystemArchitecture => self.architectures = Some(numbers(data)?),
            OptionCode::RequestedIpAddress => {
                let octets: [u8; 4] = data.try_into().map_err(|_| Silence::Malformed)?;
                self.requested = Some(octets.into());
            }
            // Longer than any, it is not worth its room in the answer.
            OptionCode::ClientMachineIdentifier if data.len() <= DHCP_MACHINE_BYTES_MAX => {
                self.machine = Some(data.to_vec());
            }
            OptionCode::RelayAgentInformation if data.len() <= usize::from(u8::MAX) => {
                self.relay_information = Some(data.to_vec());
            }
            OptionCode::VendorExtensions => self.boot_item = boot_item(data),
            OptionCode::ParameterRequestList => self.wants = data.to_vec(),
            OptionCode::OptionOverload => {
                self.overload = data.first().copied().unwrap_or_default();
            }
            // iPXE's own options.
            code if u8::from(code) == 175 => self.is_ipxe = true,
            _ => {}
        }
        Ok(())
    }

    fn firmware(&self) -> Result<Option<Firmware>, Silence> {
        let http = self.class.starts_with(b"HTTPClient");
        if !http && !self.class.starts_with(b"PXEClient") {
            return Ok(None);
        }
        if self.is_ipxe || is_class(&self.user_class, b"iPXE") {
            return Ok(Some(Firmware::Ipxe));
        }
        let numbers = match &self.architectures {
            Some(numbers) => numbers.clone(),
            // PXE before RFC 4578 says it in the class; and before that there was one.
            None => vec![arch_in(&self.class).unwrap_or(0)],
        };
        let known: Vec<_> = numbers.into_iter().filter_map(Architecture::of).collect();
        Ok(Some(match http {
            true => Firmware::Http(known),
            false => Firmware::Pxe(known),
        }))
    }
}

/// Option 93: pairs of octets, at least one (RFC 4578 §2.1).
fn numbers(data: &[u8]) -> Result<Vec<u16>, Silence> {
    let (pairs, rest) = data.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err(Silence::Malformed);
    }
    let first = pairs.iter().take(DHCP_ARCHITECTURES_MAX);
    Ok(first.map(|pair| u16::from_be_bytes(*pair)).collect())
}

/// Whether a user class (option 77) is this one: as it is, or with its length before it (RFC 3004).
fn is_class(data: &[u8], class: &[u8]) -> bool {
    let framed = data.split_first();
    data == class
        || framed
            .is_some_and(|(&len, rest)| usize::from(len) == class.len() && rest.starts_with(class))
}

/// `PXEClient:Arch:00007:UNDI:003016`.
fn arch_in(class: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(class).ok()?;
    let mut words = text.split(':');
    words.find(|word| *word == "Arch")?;
    words.next()?.parse().ok()
}

/// The type and layer of the boot server that is wanted, among the sub-options of option 43.
fn boot_item(data: &[u8]) -> Option<[u8; 4]> {
    let item = DhcpOptionIterator::new(data).find(|option| u8::from(option.code()) == BOOT_ITEM)?;
    item.data().try_into().ok()
}
