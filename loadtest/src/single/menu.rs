//! The IP configuration menu of a terminal that uses no DHCP: keys in, text out.
//!
//! (A) is its own address, (B) and (C) are its boot servers; 0.0.0.0 is none. Without an address of its own it uses DHCP, which names its
//! servers, so (B) and (C) are open only once (A) is set.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::limits::MENU_LINE_BYTES_MAX;

/// What the menu sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    /// (A)
    pub terminal: Ipv4Addr,
    /// (B)
    pub primary: Ipv4Addr,
    /// (C)
    pub secondary: Ipv4Addr,
}

impl Default for Addresses {
    fn default() -> Self {
        Addresses {
            terminal: Ipv4Addr::UNSPECIFIED,
            primary: Ipv4Addr::UNSPECIFIED,
            secondary: Ipv4Addr::UNSPECIFIED,
        }
    }
}

impl Addresses {
    /// Whether the terminal has an address of its own, and so no DHCP.
    #[must_use]
    pub fn are_static(&self) -> bool {
        !self.terminal.is_unspecified()
    }

    /// The boot servers that are set, in the order in which they are tried.
    pub fn servers(&self) -> impl Iterator<Item = Ipv4Addr> {
        let set = [self.primary, self.secondary].into_iter();
        set.filter(|address| self.are_static() && !address.is_unspecified())
    }
}

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A printable one.
    Letter(char),
    /// Enter.
    Enter,
    /// Takes back the last letter.
    Backspace,
    /// Leaves a line as it was.
    Escape,
    /// Ctrl-C.
    Break,
}

impl Key {
    /// The key of an octet that a terminal sends.
    #[must_use]
    pub fn of(octet: u8) -> Option<Self> {
        Some(match octet {
            b'\r' | b'\n' => Key::Enter,
            0x08 | 0x7f => Key::Backspace,
            0x1b => Key::Escape,
            0x03 => Key::Break,
            b' '..=b'~' => Key::Letter(octet.into()),
            _ => return None,
        })
    }
}

/// A line of the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Terminal,
    Primary,
    Secondary,
}

impl Line {
    const ALL: [Line; 3] = [Line::Terminal, Line::Primary, Line::Secondary];

    const fn label(self) -> &'static str {
        match self {
            Line::Terminal => "(A) terminal address",
            Line::Primary => "(B) primary server",
            Line::Secondary => "(C) secondary server",
        }
    }

    fn of(letter: char) -> Option<Self> {
        Some(match letter.to_ascii_uppercase() {
            'A' => Line::Terminal,
            'B' => Line::Primary,
            'C' => Line::Secondary,
            _ => return None,
        })
    }
}

/// What follows a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This is to be shown.
    Show(String),
    /// These are to be kept, and booted with.
    Save(Addresses),
}

/// The menu.
#[derive(Clone, Debug)]
pub struct Menu {
    addresses: Addresses,
    typing: Option<(Line, String)>,
}

impl Menu {
    /// With what is set until now.
    #[must_use]
    pub fn new(addresses: Addresses) -> Self {
        Menu {
            addresses,
            typing: None,
        }
    }

    /// Takes a key.
    pub fn press(&mut self, key: Key) -> Step {
        match self.typing.take() {
            Some((line, text)) => self.typed(line, text, key),
            None => self.choose(key),
        }
    }

    fn choose(&mut self, key: Key) -> Step {
        let Key::Letter(letter) = key else {
            return Step::Show(String::new());
        };
        if letter.eq_ignore_ascii_case(&'s') {
            return Step::Save(self.addresses);
        }
        match Line::of(letter) {
            Some(line) if line == Line::Terminal || self.addresses.are_static() => {
                self.typing = Some((line, String::new()));
                Step::Show(format!("{}: ", line.label()))
            }
            Some(_) => Step::Show(
                "Set (A) first: without an address of its own the terminal uses DHCP, which names its servers.\n"
                    .into(),
            ),
            None => Step::Show(String::new()),
        }
    }

    fn typed(&mut self, line: Line, mut text: String, key: Key) -> Step {
        let mut echo = String::new();
        match key {
            Key::Letter(letter) if text.len() < MENU_LINE_BYTES_MAX => {
                text.push(letter);
                echo.push(letter);
            }
            Key::Backspace if text.pop().is_some() => echo.push_str("\u{8} \u{8}"),
            Key::Letter(_) | Key::Backspace => {}
            Key::Escape | Key::Break => return Step::Show(format!("\n{self}")),
            Key::Enter => {
                let refused = match text.trim().parse() {
                    Ok(address) => self.set(line, address).err(),
                    Err(_) => Some("want an IPv4 address, as 192.0.2.50, or 0.0.0.0 for none"),
                };
                let why = refused.map(|why| format!("{text:?}: {why}\n"));
                return Step::Show(format!("\n{}{self}", why.unwrap_or_default()));
            }
        }
        self.typing = Some((line, text));
        Step::Show(echo)
    }

    fn set(&mut self, line: Line, address: Ipv4Addr) -> Result<(), &'static str> {
        if address.is_broadcast() || address.is_multicast() {
            return Err("no machine has this address");
        }
        *match line {
            Line::Terminal => &mut self.addresses.terminal,
            Line::Primary => &mut self.addresses.primary,
            Line::Secondary => &mut self.addresses.secondary,
        } = address;
        Ok(())
    }
}

impl fmt::Display for Menu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Addresses {
            terminal,
            primary,
            secondary,
        } = self.addresses;
        writeln!(f, "IP configuration (0.0.0.0: none)")?;
        for (line, address) in Line::ALL.into_iter().zip([terminal, primary, secondary]) {
            if line == Line::Terminal || self.addresses.are_static() {
                writeln!(f, "  {:<22}{address}", line.label())?;
            } else {
                writeln!(f, "  {:<22}closed until (A) is set", line.label())?;
            }
        }
        writeln!(f, "  (S) save and boot")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Presses the keys of a text; what is shown, and what is saved.
    fn press(menu: &mut Menu, text: &str) -> (String, Option<Addresses>) {
        let mut shown = String::new();
        for octet in text.bytes() {
            match menu.press(Key::of(octet).expect("a key")) {
                Step::Show(text) => shown += &text,
                Step::Save(addresses) => return (shown, Some(addresses)),
            }
        }
        (shown, None)
    }

    fn addresses(texts: [&str; 3]) -> Addresses {
        let [terminal, primary, secondary] = texts.map(|text| text.parse().expect("IPv4"));
        Addresses {
            terminal,
            primary,
            secondary,
        }
    }

    #[test]
    fn only_a_is_open_until_an_address_is_set_then_b_and_c() {
        let mut menu = Menu::new(Addresses::default());
        assert_eq!(menu.to_string().matches("closed until").count(), 2);
        for closed in ["b", "C"] {
            assert!(press(&mut menu, closed).0.contains("Set (A) first"));
        }
        assert!(press(&mut menu, "a192.0.2.50\r").0.contains("192.0.2.50"));
        assert_eq!(menu.to_string().matches("closed until").count(), 0);
        let (_, saved) = press(&mut menu, "B192.0.2.1\rc192.0.2.2\nS");
        let saved = saved.expect("saved");
        assert_eq!(saved, addresses(["192.0.2.50", "192.0.2.1", "192.0.2.2"]));
        assert_eq!(saved.servers().count(), 2);
    }

    #[test]
    fn without_an_address_of_its_own_no_server_is_taken_and_none_is_0_0_0_0() {
        let mut menu = Menu::new(addresses(["192.0.2.50", "192.0.2.1", "192.0.2.2"]));
        let (_, saved) = press(&mut menu, "b0.0.0.0\rs");
        let servers: Vec<_> = saved.expect("saved").servers().collect();
        assert_eq!(servers, [Ipv4Addr::new(192, 0, 2, 2)]);
        let (shown, saved) = press(&mut menu, "a0.0.0.0\rs");
        assert!(shown.contains("closed until"));
        assert_eq!(saved.expect("saved").servers().count(), 0);
    }

    #[test]
    fn what_is_no_address_changes_nothing_and_says_what_is_wanted() {
        let before = addresses(["192.0.2.50", "192.0.2.1", "0.0.0.0"]);
        let mut menu = Menu::new(before);
        for (typed, said) in [
            ("anonsense\r", "192.0.2.50, or 0.0.0.0"),
            ("b192.0.2.256\r", "192.0.2.50, or 0.0.0.0"),
            ("c255.255.255.255\r", "no machine"),
            ("c224.0.0.1\r", "no machine"),
            ("b\r", "192.0.2.50, or 0.0.0.0"),
            ("b192.0.2.9\u{1b}", "IP configuration"),
            ("xyz\r\u{7f}", ""),
        ] {
            let (shown, _) = press(&mut menu, typed);
            assert!(shown.contains(said), "{typed:?}: {shown}");
        }
        let (shown, saved) = press(&mut menu, "b192.0.2.9\u{7f}8\rs");
        assert!(shown.contains("\u{8} \u{8}"));
        assert_eq!(saved.expect("saved").primary, Ipv4Addr::new(192, 0, 2, 8));
        let long = format!("a{}\r", "1".repeat(10_000));
        assert!(press(&mut menu, &long).0.len() < 1000);
    }
}
