//! Packets to octets.

use super::options::write_decimal;
use super::{BlockNumber, ErrorCode, HEADER_BYTES, Opcode, OptionKind};
use crate::limits;

/// The header of a DATA packet; the payload follows it from wherever it lies.
#[must_use]
pub fn data_header(number: BlockNumber) -> [u8; HEADER_BYTES] {
    header(Opcode::Data, number.0)
}

/// An ACK.
#[must_use]
pub fn emit_ack(number: BlockNumber) -> [u8; HEADER_BYTES] {
    header(Opcode::Ack, number.0)
}

fn header(opcode: Opcode, number: u16) -> [u8; HEADER_BYTES] {
    let [a, b] = (opcode as u16).to_be_bytes();
    let [c, d] = number.to_be_bytes();
    [a, b, c, d]
}

/// An ERROR packet, held by value: it has no other home than the reply queue.
#[derive(Clone, Copy, Debug)]
pub struct ErrorPacket {
    bytes: [u8; HEADER_BYTES + limits::ERROR_TEXT_BYTES_MAX + 1],
    len: u8,
}

impl ErrorPacket {
    /// The packet.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// An ERROR: code and text, NUL-terminated. What is not printable ASCII becomes `?`; what is too long is cut.
#[must_use]
pub fn emit_error(code: ErrorCode, text: &str) -> ErrorPacket {
    let mut bytes = [0; HEADER_BYTES + limits::ERROR_TEXT_BYTES_MAX + 1];
    bytes[..HEADER_BYTES].copy_from_slice(&header(Opcode::Error, code.0));
    let printable = |b: u8| {
        if b == b' ' || b.is_ascii_graphic() {
            b
        } else {
            b'?'
        }
    };
    let text = &text.as_bytes()[..text.len().min(limits::ERROR_TEXT_BYTES_MAX)];
    for (to, from) in bytes[HEADER_BYTES..].iter_mut().zip(text) {
        *to = printable(*from);
    }
    let len = u8::try_from(HEADER_BYTES + text.len() + 1).expect("bounded above");
    ErrorPacket { bytes, len }
}

/// A read request with its options in the given order, written at the start of `buffer`; its length, or
/// `None` if it does not fit or a string holds NUL.
#[must_use]
pub fn emit_request(
    name: &[u8],
    mode: &str,
    options: &[(OptionKind, u64)],
    buffer: &mut [u8],
) -> Option<usize> {
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        buffer.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
        at += bytes.len();
        Some(())
    };
    if name.contains(&0) || mode.as_bytes().contains(&0) {
        return None;
    }
    put(&(Opcode::Rrq as u16).to_be_bytes())?;
    put(name)?;
    put(&[0])?;
    put(mode.as_bytes())?;
    put(&[0])?;
    for (kind, value) in options {
        let mut digits = [0; 20];
        put(kind.name().as_bytes())?;
        put(&[0])?;
        put(write_decimal(*value, &mut digits))?;
        put(&[0])?;
    }
    Some(at)
}
