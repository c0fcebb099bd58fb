//! Names that a terminal's own files have: who is asking, by the address of a network card in the name.
//!
//! Nothing here proves an identity: anybody can ask for any name.

use daybreak_store::Mac;

/// A name of one terminal's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnName {
    /// What it is for.
    pub kind: OwnKind,
    /// Whose it is.
    pub mac: Mac,
}

/// What a terminal's own file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnKind {
    /// `terminals/<mac>.json`: its configuration.
    Configuration,
    /// `boot/<mac>.ipxe`.
    Ipxe,
    /// `pxelinux.cfg/01-<mac>`.
    Pxelinux,
    /// `grub.cfg-01-<mac>`.
    Grub,
}

impl OwnKind {
    const ALL: [OwnKind; 4] = [
        OwnKind::Configuration,
        OwnKind::Ipxe,
        OwnKind::Pxelinux,
        OwnKind::Grub,
    ];

    /// What stands before and behind the address.
    const fn around(self) -> (&'static [u8], &'static [u8]) {
        match self {
            OwnKind::Configuration => (b"terminals/", b".json"),
            OwnKind::Ipxe => (b"boot/", b".ipxe"),
            OwnKind::Pxelinux => (b"pxelinux.cfg/01-", b""),
            OwnKind::Grub => (b"grub.cfg-01-", b""),
        }
    }

    /// The name that stands in for it where nobody has this card.
    #[must_use]
    pub const fn fallback(self) -> &'static [u8] {
        match self {
            OwnKind::Configuration => b"terminals/unknown.json",
            OwnKind::Ipxe => b"boot/unknown.ipxe",
            OwnKind::Pxelinux => b"pxelinux.cfg/unknown",
            OwnKind::Grub => b"grub.cfg-unknown",
        }
    }
}

impl OwnName {
    /// The address in a key, if it is the name of a terminal's own file. Case does not matter. Nothing is allocated.
    #[must_use]
    pub fn parse(key: &[u8]) -> Option<Self> {
        OwnKind::ALL.into_iter().find_map(|kind| {
            let (before, behind) = kind.around();
            let (start, rest) = key.split_at_checked(before.len())?;
            let (address, end) = rest.split_at_checked(Mac::TEXT_BYTES)?;
            let fits = start.eq_ignore_ascii_case(before) && end.eq_ignore_ascii_case(behind);
            let mac = fits.then(|| Mac::parse(address)).flatten()?;
            Some(OwnName { kind, mac })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_whose_it_is_in_every_spelling_and_others_do_not() {
        let mac = Mac([0x52, 0x54, 0, 0xab, 0xcd, 0xef]);
        for (name, kind) in [
            ("terminals/52:54:00:ab:cd:ef.json", OwnKind::Configuration),
            ("Terminals/52-54-00-AB-CD-EF.JSON", OwnKind::Configuration),
            ("boot/52:54:00:ab:cd:ef.ipxe", OwnKind::Ipxe),
            ("pxelinux.cfg/01-52-54-00-ab-cd-ef", OwnKind::Pxelinux),
            ("grub.cfg-01-52:54:00:ab:cd:ef", OwnKind::Grub),
        ] {
            let found = OwnName::parse(name.as_bytes());
            assert_eq!(found, Some(OwnName { kind, mac }), "{name}");
        }
        for name in [
            "",
            "boot/",
            "boot/unknown.ipxe",
            "boot/52:54:00:ab:cd:ef",
            "boot/52:54:00:ab:cd:ef.ipxe2",
            "x/boot/52:54:00:ab:cd:ef.ipxe",
            "pxelinux.cfg/default",
            "pxelinux.cfg/01-52-54-00-ab-cd-e",
            "pxelinux.cfg/C0A80001",
            "grub.cfg-01-52-54-00-ab-cd-ef.bak",
            "firmware/linux/1/vmlinuz",
        ] {
            assert_eq!(OwnName::parse(name.as_bytes()), None, "{name}");
        }
        for kind in OwnKind::ALL {
            assert_eq!(OwnName::parse(kind.fallback()), None);
        }
    }
}
