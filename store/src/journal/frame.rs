//! A journal file: the header, and the frames of its records.
//!
//! Header: magic (16), version u32, zero u32, number of the file u64. Record: length u16, the first 8 octets of the
//! BLAKE3 hash of (number of the file, offset of the record, content), content. So what was written for another place is
//! never taken for a record, be it whole.

use crate::limits::JOURNAL_RECORD_BYTES_MAX;

const MAGIC: &[u8; 16] = b"daybreak-journal";
const VERSION: u32 = 1;
pub(super) const HEADER_BYTES: usize = 32;
const FRAME_BYTES: usize = 10;
/// The longest record with its frame.
pub(super) const FRAMED_BYTES_MAX: usize = FRAME_BYTES + JOURNAL_RECORD_BYTES_MAX;

/// The header of file `number`.
pub(super) fn header(number: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..16].copy_from_slice(MAGIC);
    header[16..20].copy_from_slice(&VERSION.to_le_bytes());
    header[24..].copy_from_slice(&number.to_le_bytes());
    header
}

/// Appends a record with the content that `emit` appends; the record begins at `offset` of file `number`.
pub(super) fn emit(to: &mut Vec<u8>, number: u64, offset: u64, emit: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    to.extend_from_slice(&[0; FRAME_BYTES]);
    emit(to);
    let (frame, content) = to[start..].split_at_mut(FRAME_BYTES);
    let len = u16::try_from(content.len()).expect("events are bounded");
    debug_assert!(content.len() <= JOURNAL_RECORD_BYTES_MAX);
    frame[..2].copy_from_slice(&len.to_le_bytes());
    frame[2..].copy_from_slice(&check(number, offset, content));
}

/// What stands at the beginning of `octets`, which begin at `offset` of file `number`: a record's content, and how long it
/// is with its frame. `None`: no whole record.
pub(super) fn parse(octets: &[u8], number: u64, offset: u64) -> Option<(&[u8], usize)> {
    let (frame, rest) = octets.split_first_chunk::<FRAME_BYTES>()?;
    let len = usize::from(u16::from_le_bytes([frame[0], frame[1]]));
    if len == 0 || len > JOURNAL_RECORD_BYTES_MAX {
        return None;
    }
    let content = rest.get(..len)?;
    (frame[2..] == check(number, offset, content)).then_some((content, FRAME_BYTES + len))
}

fn check(number: u64, offset: u64, content: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(content);
    *hasher
        .finalize()
        .as_bytes()
        .first_chunk()
        .expect("32 octets")
}
