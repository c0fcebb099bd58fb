//! Names that clients ask for, brought to one form: the key that the catalog is asked with.
//!
//! A key is never a path of a file system. Still, what would climb is refused by name, so that an operator
//! sees it, and every quirk of real clients is undone here (`protocol.md`, path quirks): backslashes,
//! doubled and leading slashes, `./`, and the octets that old ROMs leave after an unterminated option 67.

use core::net::IpAddr;

use crate::limits;

/// Room for one key.
#[derive(Clone, Debug)]
pub struct Buffer([u8; limits::NAME_BYTES_MAX]);

impl Default for Buffer {
    fn default() -> Self {
        Buffer([0; limits::NAME_BYTES_MAX])
    }
}

/// Why a name cannot name a file of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing is left of it, or it names a folder.
    #[error("the name is empty or names a folder")]
    Folder,
    /// It has a `..` segment.
    #[error("the name climbs out of its folder")]
    Climbs,
    /// It has a drive letter.
    #[error("the name has a drive letter")]
    Drive,
    /// It has an octet below 32 inside, or is longer than [`limits::NAME_BYTES_MAX`].
    #[error("the name holds a control character or is too long")]
    Control,
}

/// Brings a name to its key: segments separated by single slashes, none of them empty, `.` or `..`. Letters keep
/// their case; octets above 127 are kept as they are.
///
/// # Errors
/// Why the name cannot name a file.
pub fn normalise<'b>(raw: &[u8], buffer: &'b mut Buffer) -> Result<&'b [u8], Refused> {
    let raw = trim(raw);
    if raw.len() > limits::NAME_BYTES_MAX || raw.iter().any(|&b| b < b' ' || b == 0x7f) {
        return Err(Refused::Control);
    }
    if matches!(raw.last(), None | Some(b'/' | b'\\')) {
        return Err(Refused::Folder);
    }
    let mut len = 0;
    for segment in raw.split(|&b| b == b'/' || b == b'\\') {
        match segment {
            b"" | b"." => continue,
            b".." => return Err(Refused::Climbs),
            _ => {}
        }
        if len > 0 {
            buffer.0[len] = b'/';
            len += 1;
        }
        buffer.0[len..len + segment.len()].copy_from_slice(segment);
        len += segment.len();
    }
    if len == 0 {
        return Err(Refused::Folder);
    }
    if let [letter, b':', ..] = buffer.0[..len]
        && letter.is_ascii_alphabetic()
    {
        return Err(Refused::Drive);
    }
    Ok(&buffer.0[..len])
}

/// Cuts what old ROMs leave at the end: 0xFF (the end mark of DHCP options), control octets, spaces.
fn trim(raw: &[u8]) -> &[u8] {
    let garbage = |b: &u8| *b == 0xff || *b <= b' ';
    let end = raw
        .iter()
        .rposition(|b| !garbage(b))
        .map_or(0, |last| last + 1);
    &raw[..end]
}

/// The key without a leading folder of one client (a MAC address in any spelling, an IP address, a serial
/// number, a UUID): where the client's own folder has no such file, the shared one may. `None` if the first
/// segment is not of such a form.
#[must_use]
pub fn shared(key: &[u8]) -> Option<&[u8]> {
    let slash = key.iter().position(|&b| b == b'/')?;
    let (first, rest) = (&key[..slash], &key[slash + 1..]);
    names_one_client(first).then_some(rest)
}

fn names_one_client(segment: &[u8]) -> bool {
    let hex = segment.iter().filter(|b| b.is_ascii_hexdigit()).count();
    let marks = |mark: u8| segment.iter().filter(|&&b| b == mark).count();
    let is_identity = match segment.len() {
        // A serial number of the Raspberry Pi, or an IPv4 address in hexadecimal; a bare MAC address.
        8 | 12 => hex == segment.len(),
        // A MAC address, bare or after the hardware type that PXELINUX puts before it; a UUID.
        17 => hex == 12 && marks(b'-').max(marks(b':')) == 5,
        20 => hex == 14 && marks(b'-') == 6,
        36 => hex == 32 && marks(b'-') == 4,
        _ => false,
    };
    let is_address =
        || core::str::from_utf8(segment).is_ok_and(|text| text.parse::<IpAddr>().is_ok());
    is_identity || is_address()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn key(raw: &[u8]) -> Result<Vec<u8>, Refused> {
        normalise(raw, &mut Buffer::default()).map(<[u8]>::to_vec)
    }

    #[test]
    fn spellings_of_one_name_have_one_key() {
        let spellings: [&[u8]; 9] = [
            b"boot/x64/ipxe.efi",
            b"/boot/x64/ipxe.efi",
            b"//boot//x64///ipxe.efi",
            b"\\boot\\x64\\ipxe.efi",
            b"./boot/./x64/ipxe.efi",
            b"boot/x64/ipxe.efi\xff",
            b"boot/x64/ipxe.efi\xff\x03\x04",
            b"boot/x64/ipxe.efi  ",
            b"\\boot/x64\\ipxe.efi\r\n",
        ];
        for raw in spellings {
            assert_eq!(
                key(raw).as_deref(),
                Ok(&b"boot/x64/ipxe.efi"[..]),
                "{raw:?}"
            );
        }
        assert_eq!(
            key(b"%2e%2e/x").as_deref(),
            Ok(&b"%2e%2e/x"[..]),
            "TFTP has no %-encoding"
        );
        assert_eq!(key(b"caf\xe9.cfg").as_deref(), Ok(&b"caf\xe9.cfg"[..]));
    }

    #[test]
    fn what_cannot_name_a_file_is_refused_by_name() {
        for raw in [
            &b"../etc/passwd"[..],
            b"a/../../b",
            b"..\\boot.ini",
            b"/a/..",
            b"./../x",
        ] {
            assert_eq!(key(raw), Err(Refused::Climbs), "{raw:?}");
        }
        for raw in [
            &b""[..],
            b"/",
            b"\\",
            b"boot/",
            b"boot\\",
            b"\xff",
            b" ",
            b".",
            b"./.",
        ] {
            assert_eq!(key(raw), Err(Refused::Folder), "{raw:?}");
        }
        for raw in [&b"C:\\boot\\x"[..], b"./C:/x", b"/c:x"] {
            assert_eq!(key(raw), Err(Refused::Drive), "{raw:?}");
        }
        assert_eq!(key(b"a\nb"), Err(Refused::Control));
        assert_eq!(
            key(&[b'a'; limits::NAME_BYTES_MAX + 1]),
            Err(Refused::Control)
        );
    }

    #[test]
    fn the_folder_of_one_client_falls_back_to_the_shared_one() {
        let folders = [
            "1a2b3c4d",
            "AABBCCDDEEFF",
            "01-aa-bb-cc-dd-ee-ff",
            "aa:bb:cc:dd:ee:ff",
            "aa-bb-cc-dd-ee-ff",
            "192.168.1.20",
            "fd00::1",
            "4c4c4544-0042-4a10-8035-b4c04f4d3132",
        ];
        for folder in folders {
            let name = alloc::format!("{folder}/start4.elf");
            assert_eq!(
                shared(name.as_bytes()),
                Some(&b"start4.elf"[..]),
                "{folder}"
            );
        }
        for name in [
            "firmware/a",
            "start4.elf",
            "deadbeer/x",
            "pxelinux.cfg/01-aa-bb-cc-dd-ee-ff",
        ] {
            assert_eq!(shared(name.as_bytes()), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_its_own_key_and_never_climbs(raw in prop::collection::vec(
            prop_oneof![Just(b'/'), Just(b'\\'), Just(b'.'), any::<u8>()], 0..600)) {
            if let Ok(once) = key(&raw) {
                prop_assert_eq!(key(&once), Ok(once.clone()));
                prop_assert!(once.split(|&b| b == b'/').all(|s| !s.is_empty() && s != b"." && s != b".."));
            }
        }
    }
}
