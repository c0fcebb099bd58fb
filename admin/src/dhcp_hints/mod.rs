//! What a site's DHCP server has to say so that terminals know both boot servers: options 66, 67 and 150, and what is typed into a
//! terminal that uses no DHCP. Pure: from the boot servers and a few wishes to settings and texts.
//!
//! Option 66 with two addresses is for the firmware of thin clients, which tries one after the other. Standard PXE firmware
//! takes it for one name; for that there is ProxyDHCP, or a class that keeps the options from it.

mod texts;

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;

use crate::kind::{BootServer, Broken};
use crate::limits::HINT_SCOPES_MAX;

/// What is wished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// Option 67.
    pub boot_file: BootFileName,
    /// The beginning of option 60 of the clients that it is for; none: all.
    pub class: Option<VendorClass>,
    /// Networks with an order of their own; none: one order for all.
    pub scopes: Vec<Scope>,
    /// Whether every second scope has the other server first.
    pub alternate: bool,
    /// The terminal's own address, for the static menu; zero: it uses DHCP.
    pub terminal: Ipv4Addr,
}

impl Default for Wishes {
    fn default() -> Self {
        Wishes {
            boot_file: BootFileName("boot/ipxe.efi".into()),
            class: None,
            scopes: Vec::new(),
            alternate: false,
            terminal: Ipv4Addr::UNSPECIFIED,
        }
    }
}

/// A name in option 67, of characters that mean nothing in any configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFileName(Box<str>);

/// The beginning of a vendor class identifier, likewise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorClass(Box<str>);

/// A network of the DHCP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    network: Ipv4Addr,
    prefix_bits: u8,
}

impl BootFileName {
    /// The only constructor.
    pub fn parse(text: &str) -> Result<Self, Broken> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._+:-".contains(&byte);
        if (1..=127).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(BootFileName(text.into()));
        }
        Err(Broken(
            "a boot file is 1 to 127 of A-Z, a-z, 0-9, /, ., _, +, : and -",
        ))
    }
}

impl VendorClass {
    /// The only constructor.
    pub fn parse(text: &str) -> Result<Self, Broken> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" ._:-".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) && text.trim() == text {
            return Ok(VendorClass(text.into()));
        }
        Err(Broken(
            "a vendor class is 1 to 64 of A-Z, a-z, 0-9, blank, ., _, : and -",
        ))
    }
}

impl FromStr for Scope {
    type Err = Broken;

    fn from_str(text: &str) -> Result<Self, Broken> {
        let wanted = Broken("a scope is an IPv4 network by its own address, as in 10.1.0.0/24");
        let (network, bits) = text.split_once('/').ok_or(wanted)?;
        let network: Ipv4Addr = network.parse().map_err(|_| wanted)?;
        let prefix_bits: u8 = bits.parse().map_err(|_| wanted)?;
        if !(8..=30).contains(&prefix_bits) {
            return Err(Broken("a scope has 8 to 30 prefix bits"));
        }
        let scope = Scope {
            network,
            prefix_bits,
        };
        if u32::from(network) & !u32::from(scope.mask()) != 0 {
            return Err(wanted);
        }
        Ok(scope)
    }
}

impl Scope {
    fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from(!(u32::MAX >> self.prefix_bits))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_bits)
    }
}

/// Settings and texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DhcpHints {
    /// Of each scope, or one for all.
    pub scopes: Vec<ScopeHints>,
    /// Boot servers that are not named, and why.
    pub left_out: Vec<LeftOut>,
    /// What to know before it is used.
    pub notes: Vec<&'static str>,
    /// Configuration of DHCP servers.
    pub texts: Texts,
}

/// What holds for the terminals of one scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ScopeHints {
    /// The network; null: every one.
    pub scope: Option<String>,
    /// Option 66: the addresses with a blank between, the first to be tried first.
    pub option_66: String,
    /// Option 67.
    pub option_67: String,
    /// Option 150: the addresses, four octets each.
    #[schema(value_type = Vec<String>)]
    pub option_150: Vec<Ipv4Addr>,
    /// What is typed into a terminal without DHCP.
    pub static_menu: StaticMenu,
}

/// The lines of a terminal's menu; 0.0.0.0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StaticMenu {
    /// (A) The terminal's own address; 0.0.0.0: it uses DHCP.
    #[schema(value_type = String)]
    pub a: Ipv4Addr,
    /// (B) The server that is tried first.
    #[schema(value_type = String)]
    pub b: Ipv4Addr,
    /// (C) The other one.
    #[schema(value_type = String)]
    pub c: Ipv4Addr,
}

/// A boot server that is not named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Why.
    pub why: &'static str,
}

/// Configuration of DHCP servers, to be put into theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Texts {
    /// ISC dhcpd: `dhcpd.conf`.
    pub isc_dhcpd: String,
    /// Kea: `kea-dhcp4.conf`.
    pub kea: String,
    /// dnsmasq: `dnsmasq.conf`.
    pub dnsmasq: String,
    /// Windows DHCP: PowerShell, on the server, as an administrator.
    pub windows: String,
}

/// How many servers firmware takes.
const SERVERS_NAMED: usize = 2;

/// What boot servers and wishes mean. `servers` are in the order in which they are tried.
#[must_use]
pub fn dhcp_hints(servers: &[&BootServer], wishes: &Wishes) -> DhcpHints {
    let (named, left_out) = choose(servers);
    let scopes = if wishes.scopes.is_empty() {
        vec![None]
    } else {
        let first = wishes.scopes.iter().take(HINT_SCOPES_MAX);
        first.copied().map(Some).collect()
    };
    let plans: Vec<Plan> = (scopes.into_iter().enumerate())
        .map(|(at, scope)| {
            let mut servers = named.clone();
            if wishes.alternate && at % 2 == 1 {
                servers.reverse();
            }
            Plan { scope, servers }
        })
        .collect();
    let mut notes = Vec::new();
    if named.is_empty() {
        notes.push("no boot server with an IPv4 address is configured: the texts are empty");
    }
    if named.len() == 1 {
        notes.push("only one boot server is named: when it is dead, nobody boots");
    }
    if wishes.class.is_none() && named.len() > 1 {
        notes.push(
            "option 66 with two addresses is for thin clients; give their vendor class, or standard PXE firmware, which takes one \
             name, gets it too. For standard firmware, use --proxy-dhcp on both boot servers",
        );
    }
    let texts = Texts {
        isc_dhcpd: texts::isc_dhcpd(&plans, wishes),
        kea: texts::kea(&plans, wishes),
        dnsmasq: texts::dnsmasq(&plans, wishes),
        windows: texts::windows(&plans, wishes),
    };
    DhcpHints {
        scopes: plans.iter().map(|plan| plan.hints(wishes)).collect(),
        left_out,
        notes,
        texts,
    }
}

/// The order of one scope.
struct Plan {
    scope: Option<Scope>,
    servers: Vec<Ipv4Addr>,
}

impl Plan {
    fn hints(&self, wishes: &Wishes) -> ScopeHints {
        let server = |at: usize| {
            let found = self.servers.get(at).copied();
            found.unwrap_or(Ipv4Addr::UNSPECIFIED)
        };
        ScopeHints {
            scope: self.scope.map(|scope| scope.to_string()),
            option_66: self.list(" "),
            option_67: wishes.boot_file.0.to_string(),
            option_150: self.servers.clone(),
            static_menu: StaticMenu {
                a: wishes.terminal,
                b: server(0),
                c: server(1),
            },
        }
    }

    /// The addresses with something between.
    fn list(&self, between: &str) -> String {
        let texts: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        texts.join(between)
    }
}

/// Firmware takes two addresses, and no names: the DHCP options have no room for the rest.
fn choose(servers: &[&BootServer]) -> (Vec<Ipv4Addr>, Vec<LeftOut>) {
    let (mut named, mut left_out) = (Vec::new(), Vec::new());
    for server in servers {
        let address = server.address.as_str();
        let why = match address.parse() {
            Ok(address) if named.contains(&address) => "another one has this address",
            Ok(address) if named.len() < SERVERS_NAMED => {
                named.push(address);
                continue;
            }
            Ok(_) => "terminals take two servers, and two go before it",
            Err(_) => "it has no IPv4 address but a name or IPv6, which firmware cannot use here",
        };
        left_out.push(LeftOut {
            name: server.name.as_str().to_owned(),
            address: address.to_owned(),
            why,
        });
    }
    (named, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, address: &str) -> BootServer {
        let body = serde_json::json!({"name": name, "address": address});
        serde_json::from_value(body).expect("a boot server")
    }

    fn hints(addresses: &[&str], wishes: &Wishes) -> DhcpHints {
        let numbered = addresses.iter().enumerate();
        let servers: Vec<_> = numbered
            .map(|(number, address)| server(&format!("server {number}"), address))
            .collect();
        dhcp_hints(&servers.iter().collect::<Vec<_>>(), wishes)
    }

    fn scopes(texts: &[&str]) -> Vec<Scope> {
        texts
            .iter()
            .map(|text| text.parse().expect("a scope"))
            .collect()
    }

    #[test]
    fn c74_option_66_has_two_addresses_with_a_blank_between_and_the_menu_the_same() {
        let wishes = Wishes {
            terminal: Ipv4Addr::new(192, 0, 2, 50),
            ..Wishes::default()
        };
        let both = &hints(&["192.0.2.1", "192.0.2.2"], &wishes).scopes[0];
        assert_eq!(both.option_66, "192.0.2.1 192.0.2.2");
        let menu = both.static_menu;
        let lines = [menu.a, menu.b, menu.c].map(|line| line.to_string());
        assert_eq!(lines, ["192.0.2.50", "192.0.2.1", "192.0.2.2"]);
        let one = &hints(&["192.0.2.1"], &Wishes::default()).scopes[0];
        assert_eq!(one.option_66, "192.0.2.1");
        assert_eq!(
            (one.static_menu.a, one.static_menu.c),
            (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED)
        );
    }

    #[test]
    fn c77_option_150_holds_ipv4_addresses_in_the_order_of_preference() {
        let found = hints(
            &[
                "2001:db8::1",
                "192.0.2.9",
                "boot.example",
                "192.0.2.1",
                "192.0.2.9",
                "192.0.2.3",
            ],
            &Wishes::default(),
        );
        assert_eq!(
            found.scopes[0].option_150,
            ["192.0.2.9", "192.0.2.1"].map(|text| text.parse::<Ipv4Addr>().expect("IPv4"))
        );
        let left_out: Vec<&str> = found
            .left_out
            .iter()
            .map(|left| left.address.as_str())
            .collect();
        assert_eq!(
            left_out,
            ["2001:db8::1", "boot.example", "192.0.2.9", "192.0.2.3"]
        );
    }

    #[test]
    fn the_order_alternates_by_scope_where_that_is_wished() {
        let order = |alternate| {
            let wishes = Wishes {
                scopes: scopes(&["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24"]),
                alternate,
                ..Wishes::default()
            };
            let found = hints(&["192.0.2.1", "192.0.2.2"], &wishes).scopes;
            found
                .into_iter()
                .map(|scope| scope.option_66)
                .collect::<Vec<_>>()
        };
        let (ours, others) = ("192.0.2.1 192.0.2.2", "192.0.2.2 192.0.2.1");
        assert_eq!(order(false), [ours; 3]);
        assert_eq!(order(true), [ours, others, ours]);
    }

    #[test]
    fn nothing_that_is_wished_can_say_more_than_it_is() {
        for bad in [
            "",
            "a b",
            "a\"b",
            "a\nb",
            "a;b",
            "$(a)",
            "a'b",
            &"x".repeat(128),
        ] {
            assert!(BootFileName::parse(bad).is_err(), "{bad:?}");
        }
        for bad in [
            "",
            " a",
            "a ",
            "a\"b",
            "a'b",
            "a\nb",
            "a,b",
            "a;b",
            "a\\b",
            &"x".repeat(65),
        ] {
            assert!(VendorClass::parse(bad).is_err(), "{bad:?}");
        }
        assert!(BootFileName::parse("firmware/x+1/a_b.efi").is_ok());
        assert!(VendorClass::parse("Thin Client:1.0").is_ok());
        for bad in [
            "",
            "10.1.0.0",
            "10.1.0.1/24",
            "10.1.0.0/33",
            "10.1.0.0/7",
            "::/64",
            "a/24",
        ] {
            assert!(bad.parse::<Scope>().is_err(), "{bad:?}");
        }
        assert_eq!(
            scopes(&["10.1.0.0/22"])[0].mask(),
            Ipv4Addr::new(255, 255, 252, 0)
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let none = hints(&["boot.example"], &Wishes::default());
        assert!(none.notes[0].contains("no boot server"));
        assert_eq!(none.scopes[0].option_66, "");
        assert_eq!(none.texts.dnsmasq, "");
        let one = hints(&["192.0.2.1"], &Wishes::default());
        assert!(one.notes[0].contains("only one"));
        let open = hints(&["192.0.2.1", "192.0.2.2"], &Wishes::default());
        assert!(open.notes[0].contains("vendor class"));
    }
}
