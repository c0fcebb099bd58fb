//! The answers: offers to who asked everybody, acknowledgements to who asked us.

use std::net::Ipv4Addr;

use dhcproto::v4::{
    DhcpOption, Encodable, Message, MessageType, Opcode, OptionCode, UnknownOption,
};

use super::{Architecture, Firmware, Request, Server, Silence, Way};
use crate::limits::{DHCP_FILE_FIELD_BYTES, DHCP_REPLY_BYTES_MIN};

/// Tags of option 43 (PXE 2.1).
const DISCOVERY_CONTROL: u8 = 6;
const BOOT_ITEM: u8 = 71;
const END: u8 = 255;
/// Bit 3 of PXE_DISCOVERY_CONTROL: fetch the file that is named here, and ask nobody else.
const JUST_THE_FILE: u8 = 8;

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Offer,
    Acknowledgement,
}

impl Kind {
    /// The answer to a message that came this way, if it has one.
    pub(super) fn of(request: &Request, way: Way) -> Result<Self, Silence> {
        let relayed = !request.relay.is_unspecified();
        match (way, request.kind) {
            (Way::Broadcast, MessageType::Discover) if !relayed => Ok(Kind::Offer),
            (Way::Relayed, MessageType::Discover) if relayed => Ok(Kind::Offer),
            (Way::Broadcast | Way::Relayed, MessageType::Discover) => Err(Silence::NotOurWay),
            (Way::BootServer(_), MessageType::Request | MessageType::Inform) => {
                Ok(Kind::Acknowledgement)
            }
            _ => Err(Silence::NotOurs),
        }
    }
}

/// The answer's octets.
pub(super) fn emit(
    request: &Request,
    firmware: &Firmware,
    kind: Kind,
    server: Ipv4Addr,
    file: &str,
) -> Vec<u8> {
    let client = match kind {
        Kind::Offer => Ipv4Addr::UNSPECIFIED,
        Kind::Acknowledgement => request.client,
    };
    let mut message = Message::new_with_id(
        request.xid,
        client,
        Ipv4Addr::UNSPECIFIED,
        server,
        request.relay,
        &request.mac.0,
    );
    message
        .set_opcode(Opcode::BootReply)
        .set_flags(request.flags)
        .set_sname_str(server.to_string());
    let fits = file.len() < DHCP_FILE_FIELD_BYTES;
    if fits {
        message.set_fname_str(file);
    }
    let wants = |code: OptionCode| request.wants.contains(&code.into());
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(match kind {
        Kind::Offer => MessageType::Offer,
        Kind::Acknowledgement => MessageType::Ack,
    }));
    options.insert(DhcpOption::ServerIdentifier(server));
    let class = match firmware {
        Firmware::Http(_) => "HTTPClient",
        Firmware::Pxe(_) | Firmware::Ipxe => "PXEClient",
    };
    options.insert(DhcpOption::ClassIdentifier(class.into()));
    if let Some(machine) = &request.machine {
        options.insert(DhcpOption::ClientMachineIdentifier(machine.clone()));
    }
    if !fits || matches!(firmware, Firmware::Http(_)) || wants(OptionCode::BootfileName) {
        options.insert(DhcpOption::BootfileName(file.into()));
    }
    if wants(OptionCode::TFTPServerName) {
        let text = server.to_string().into_bytes();
        options.insert(DhcpOption::TFTPServerName(text));
    }
    if let Some(vendor) = vendor(request, firmware, kind) {
        options.insert(DhcpOption::VendorExtensions(vendor));
    }
    if !request.relay.is_unspecified()
        && let Some(information) = &request.relay_information
    {
        let code = OptionCode::RelayAgentInformation;
        let option = UnknownOption::new(code, information.clone());
        options.insert(DhcpOption::Unknown(option));
    }
    let mut octets = message.to_vec().expect("a message in memory");
    // What is shorter than a BOOTP message, old firmware does not take.
    octets.resize(octets.len().max(DHCP_REPLY_BYTES_MIN), 0);
    octets
}

/// Option 43. Some UEFI firmware does not take an offer that has it, and all takes one without.
fn vendor(request: &Request, firmware: &Firmware, kind: Kind) -> Option<Vec<u8>> {
    let bios = match firmware {
        Firmware::Pxe(architectures) => architectures.first() == Some(&Architecture::X86Bios),
        Firmware::Http(_) | Firmware::Ipxe => false,
    };
    match (kind, request.boot_item) {
        (Kind::Offer, _) if bios => Some(vec![DISCOVERY_CONTROL, 1, JUST_THE_FILE, END]),
        (Kind::Acknowledgement, Some([a, b, c, d])) => Some(vec![BOOT_ITEM, 4, a, b, c, d, END]),
        _ => None,
    }
}

/// Where a file is by HTTP.
pub(super) fn url(server: Server, name: &str) -> Option<String> {
    use std::fmt::Write as _;
    let mut url = match server.http_port? {
        80 => format!("http://{}/", server.address),
        port => format!("http://{}:{port}/", server.address),
    };
    for octet in name.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                url.push(octet.into());
            }
            _ => {
                let _ = write!(url, "%{octet:02X}");
            }
        }
    }
    Some(url)
}
