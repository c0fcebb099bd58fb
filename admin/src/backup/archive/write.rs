//! Writing a backup, from front to back.

use std::io::{self, Read, Write};

use daybreak_store::ImageHash;

use super::{ArchiveError, FILE_HEAD_BYTES, HASH_BYTES, Head, MAGIC, Tag, VERSION};
use crate::limits::COPY_BYTES;
use crate::object::Id;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Octets.
    pub len: u64,
    /// The BLAKE3 hash of all of them.
    pub hash: ImageHash,
}

/// Writes records. The caller keeps their order.
pub struct Writer<W> {
    out: W,
    hasher: blake3::Hasher,
    len: u64,
}

pub(super) fn head_json(head: &Head) -> Vec<u8> {
    serde_json::to_vec(head).expect("plain values")
}

impl<W: Write> Writer<W> {
    /// Begins.
    pub fn new(out: W, head: &Head) -> io::Result<Self> {
        let mut writer = Writer {
            out,
            hasher: blake3::Hasher::new(),
            len: 0,
        };
        writer.put(&MAGIC)?;
        writer.put(&VERSION.to_le_bytes())?;
        writer.record(Tag::Head, &[&head_json(head)])?;
        Ok(writer)
    }

    /// An object, with its body as JSON.
    pub fn object(&mut self, kind: &str, id: &Id, body: &[u8]) -> io::Result<()> {
        let length =
            |text: &str| u8::try_from(text.len()).expect("kinds and identifiers are short");
        let (kind_len, id_len) = ([length(kind)], [length(id.as_str())]);
        let parts = [
            &kind_len,
            kind.as_bytes(),
            &id_len,
            id.as_str().as_bytes(),
            body,
        ];
        self.record(Tag::Object, &parts)
    }

    /// The name of a file, and its image.
    pub fn file(&mut self, name: &str, hash: &ImageHash, len: u64) -> io::Result<()> {
        let mut head = [0; FILE_HEAD_BYTES];
        head[..HASH_BYTES].copy_from_slice(hash.as_bytes());
        head[HASH_BYTES..].copy_from_slice(&len.to_le_bytes());
        self.record(Tag::File, &[&head, name.as_bytes()])
    }

    /// An image: `content` must give exactly `len` octets with this hash. After an error the archive is none.
    pub fn image(
        &mut self,
        hash: &ImageHash,
        len: u64,
        content: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        self.record_head(Tag::Image, len.saturating_add(HASH_BYTES as u64))?;
        self.put(hash.as_bytes())?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; COPY_BYTES];
        let mut left = len;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(COPY_BYTES).min(COPY_BYTES);
            let count = match content.read(&mut buffer[..want]) {
                Ok(0) => return Err(ArchiveError::Image(*hash)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count?,
            };
            hasher.update(&buffer[..count]);
            self.put(&buffer[..count])?;
            left -= count as u64;
        }
        if hasher.finalize().as_bytes() != hash.as_bytes() {
            return Err(ArchiveError::Image(*hash));
        }
        Ok(())
    }

    /// Ends. What was written has still to be synced.
    pub fn finish(mut self) -> io::Result<(W, Written)> {
        self.record_head(Tag::End, HASH_BYTES as u64)?;
        let checksum = *self.hasher.finalize().as_bytes();
        self.put(&checksum)?;
        self.out.flush()?;
        let hash = ImageHash::from_bytes(*self.hasher.finalize().as_bytes());
        let len = self.len;
        Ok((self.out, Written { len, hash }))
    }

    fn record(&mut self, tag: Tag, parts: &[&[u8]]) -> io::Result<()> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.record_head(tag, len as u64)?;
        parts.iter().try_for_each(|part| self.put(part))
    }

    fn record_head(&mut self, tag: Tag, len: u64) -> io::Result<()> {
        self.put(&[tag.octet()])?;
        self.put(&len.to_le_bytes())
    }

    fn put(&mut self, octets: &[u8]) -> io::Result<()> {
        self.out.write_all(octets)?;
        self.hasher.update(octets);
        self.len += octets.len() as u64;
        Ok(())
    }
}
