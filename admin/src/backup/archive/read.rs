//! Reading a backup, from front to back: strict, and with no more memory than a record and the hashes of its files.
//!
//! Every length is checked against its bound before anything is allocated for it, and what is allocated grows only with
//! octets that have arrived.

use std::collections::BTreeMap;
use std::io::{self, Read};

use daybreak_store::limits::{ENTRIES_MAX, IMAGE_BYTES_MAX};
use daybreak_store::{ImageHash, Name};

use super::write::head_json;
use super::{
    ArchiveError, FILE_HEAD_BYTES, HASH_BYTES, Head, MAGIC, RECORD_HEAD_BYTES, Tag, VERSION,
};
use crate::kind::Kind;
use crate::limits::{
    BACKUP_CONFIGURATION_BYTES_MAX, BACKUP_HEAD_BYTES_MAX, BODY_BYTES_MAX, COPY_BYTES,
    ID_BYTES_MAX, OBJECTS_MAX,
};
use crate::object::Id;

/// A record of what is backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An object.
    Object {
        /// What it is.
        kind: Kind,
        /// Which one.
        id: Id,
        /// What it says, as JSON.
        body: Vec<u8>,
    },
    /// The name of a file.
    File {
        /// As terminals ask for it.
        name: Name,
        /// Its image.
        hash: ImageHash,
        /// The length of that.
        len: u64,
    },
    /// An image, whose content [`Reader::read`] gives.
    Image {
        /// Which one.
        hash: ImageHash,
        /// Its length.
        len: u64,
    },
}

/// Reads records.
pub struct Reader<R> {
    source: R,
    hasher: blake3::Hasher,
    position: u64,
    head: Head,
    /// The last record, and what named it.
    last: (Tag, Vec<u8>),
    found: Found,
    /// The images that files name, and how long these say they are.
    named: BTreeMap<ImageHash, u64>,
    image: Option<Content>,
    checksum: Option<ImageHash>,
}

#[derive(Default)]
struct Found {
    objects: u64,
    files: u64,
    images: u64,
    image_bytes: u64,
    configuration_bytes: u64,
}

/// An image that is being read.
struct Content {
    hash: ImageHash,
    hasher: blake3::Hasher,
    left: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning.
    pub fn open(source: R) -> Result<Self, ArchiveError> {
        let nothing = Head {
            created_ms: 0,
            software: String::new(),
            node: crate::object::NodeId::from_random([0; 8]),
            reason: super::Reason::Manual,
            schedule: None,
            with_images: false,
            objects: 0,
            files: 0,
            images: 0,
            image_bytes: 0,
        };
        let mut reader = Reader {
            source,
            hasher: blake3::Hasher::new(),
            position: 0,
            head: nothing,
            last: (Tag::Head, Vec::new()),
            found: Found::default(),
            named: BTreeMap::new(),
            image: None,
            checksum: None,
        };
        let magic: [u8; MAGIC.len()] = match reader.array() {
            Err(ArchiveError::Truncated(_)) => return Err(ArchiveError::NotABackup),
            magic => magic?,
        };
        if magic != MAGIC {
            return Err(ArchiveError::NotABackup);
        }
        let version = u32::from_le_bytes(reader.array()?);
        if version != VERSION {
            return Err(ArchiveError::UnknownVersion(version));
        }
        let (tag, len) = reader.record_head()?;
        if tag != Tag::Head {
            return Err(ArchiveError::Order);
        }
        let json = reader.payload("a description", len, BACKUP_HEAD_BYTES_MAX)?;
        let head: Head =
            serde_json::from_slice(&json).map_err(|error| ArchiveError::Head(error.to_string()))?;
        if head_json(&head) != json {
            return Err(ArchiveError::Head("it is written in another way".into()));
        }
        reader.head = head;
        Ok(reader)
    }

    /// What the backup says of itself.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The checksum at its end, once that was reached.
    #[must_use]
    pub fn checksum(&self) -> Option<ImageHash> {
        self.checksum
    }

    /// The next record. Nothing: the end was reached, and everything was as it should be. What was not read of an image
    /// is checked, too.
    pub fn next_record(&mut self) -> Result<Option<Record>, ArchiveError> {
        if self.checksum.is_some() {
            return Ok(None);
        }
        if self.image.is_some() {
            let mut buffer = vec![0; COPY_BYTES];
            while self.read(&mut buffer)? > 0 {}
            self.image = None;
        }
        let (tag, len) = self.record_head()?;
        if tag < self.last.0 || tag == Tag::Head {
            return Err(ArchiveError::Order);
        }
        match tag {
            Tag::Head => Err(ArchiveError::Order),
            Tag::Object => self.object(len).map(Some),
            Tag::File => self.file(len).map(Some),
            Tag::Image => self.begin_image(len).map(Some),
            Tag::End => self.end(len).map(|()| None),
        }
    }

    /// Octets of the image whose record was the last; 0 at its end, which it reaches only if they have its hash.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let Some(mut content) = self.image.take() else {
            return Ok(0);
        };
        if content.left == 0 {
            self.image = Some(content);
            return Ok(0);
        }
        let want = usize::try_from(content.left)
            .unwrap_or(buffer.len())
            .min(buffer.len());
        self.fill(&mut buffer[..want])?;
        content.hasher.update(&buffer[..want]);
        content.left -= want as u64;
        if content.left == 0 {
            content.check()?;
        }
        self.image = Some(content);
        Ok(want)
    }

    fn object(&mut self, len: u64) -> Result<Record, ArchiveError> {
        self.count(|found| &mut found.objects, "objects", OBJECTS_MAX as u64)?;
        let bound = 2 + u64::from(u8::MAX) + (ID_BYTES_MAX + BODY_BYTES_MAX) as u64;
        let payload = self.configuration("an object", len, bound)?;
        let (word, rest) = short(&payload).ok_or(ArchiveError::Name("a kind"))?;
        let (id, body) = short(rest).ok_or(ArchiveError::Name("an identifier"))?;
        let word = core::str::from_utf8(word).map_err(|_| ArchiveError::Name("a kind"))?;
        let kind = Kind::of_word(word).ok_or_else(|| ArchiveError::UnknownKind(word.to_owned()))?;
        let wrong = ArchiveError::Name("an identifier");
        let Some(id) = core::str::from_utf8(id)
            .ok()
            .and_then(|id| Id::parse(id).ok())
        else {
            return Err(wrong);
        };
        if body.len() > BODY_BYTES_MAX {
            let (len, max) = (body.len() as u64, BODY_BYTES_MAX as u64);
            return Err(ArchiveError::Length {
                what: "a body",
                len,
                max,
            });
        }
        let key = [word.as_bytes(), &[0], id.as_str().as_bytes()].concat();
        self.rising(Tag::Object, key, || format!("{word} {id}"))?;
        Ok(Record::Object {
            kind,
            id,
            body: body.to_vec(),
        })
    }

    fn file(&mut self, len: u64) -> Result<Record, ArchiveError> {
        self.count(|found| &mut found.files, "files", ENTRIES_MAX.into())?;
        let bound = FILE_HEAD_BYTES + daybreak_store::limits::NAME_BYTES_MAX;
        let payload = self.configuration("a file", len, bound as u64)?;
        let wrong = || ArchiveError::Name("a file's name");
        let (hash, rest) = payload
            .split_first_chunk::<HASH_BYTES>()
            .ok_or_else(wrong)?;
        let (len, name) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
        let (hash, len) = (ImageHash::from_bytes(*hash), u64::from_le_bytes(*len));
        let name = Name::parse(name).map_err(|_| wrong())?;
        if len > IMAGE_BYTES_MAX {
            let max = IMAGE_BYTES_MAX;
            return Err(ArchiveError::Length {
                what: "an image",
                len,
                max,
            });
        }
        self.rising(Tag::File, name.as_str().as_bytes().to_vec(), || {
            name.to_string()
        })?;
        // One content has one length.
        if *self.named.entry(hash).or_insert(len) != len {
            return Err(ArchiveError::Stray(hash));
        }
        Ok(Record::File { name, hash, len })
    }

    fn begin_image(&mut self, len: u64) -> Result<Record, ArchiveError> {
        self.count(|found| &mut found.images, "images", ENTRIES_MAX.into())?;
        let Some(len) = len.checked_sub(HASH_BYTES as u64) else {
            return Err(ArchiveError::Name("an image's hash"));
        };
        let hash = ImageHash::from_bytes(self.array()?);
        self.rising(Tag::Image, hash.as_bytes().to_vec(), || {
            format!("image {hash}")
        })?;
        if self.named.get(&hash) != Some(&len) {
            return Err(ArchiveError::Stray(hash));
        }
        self.found.image_bytes = self.found.image_bytes.saturating_add(len);
        let content = Content {
            hash,
            hasher: blake3::Hasher::new(),
            left: len,
        };
        if len == 0 {
            content.check()?;
        }
        self.image = Some(content);
        Ok(Record::Image { hash, len })
    }

    fn end(&mut self, len: u64) -> Result<(), ArchiveError> {
        if len != HASH_BYTES as u64 {
            let max = HASH_BYTES as u64;
            return Err(ArchiveError::Length {
                what: "an end",
                len,
                max,
            });
        }
        let found = *self.hasher.finalize().as_bytes();
        let said: [u8; HASH_BYTES] = self.array()?;
        if said != found {
            return Err(ArchiveError::Checksum);
        }
        for (what, said, found) in [
            ("objects", self.head.objects, self.found.objects),
            ("files", self.head.files, self.found.files),
            ("images", self.head.images, self.found.images),
            (
                "octets of images",
                self.head.image_bytes,
                self.found.image_bytes,
            ),
        ] {
            if said != found {
                return Err(ArchiveError::Count { what, said, found });
            }
        }
        let mut more = [0];
        loop {
            match self.source.read(&mut more) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) => return Err(ArchiveError::Trailing),
                Err(error) => return Err(error.into()),
            }
        }
        self.checksum = Some(ImageHash::from_bytes(said));
        Ok(())
    }

    /// One more; refused beyond what there may be.
    fn count(
        &mut self,
        of: impl Fn(&mut Found) -> &mut u64,
        what: &'static str,
        max: u64,
    ) -> Result<(), ArchiveError> {
        let count = of(&mut self.found);
        *count += 1;
        if *count > max {
            let len = *count;
            return Err(ArchiveError::Length { what, len, max });
        }
        Ok(())
    }

    /// What names a record comes after what named the one before.
    fn rising(
        &mut self,
        tag: Tag,
        key: Vec<u8>,
        told: impl Fn() -> String,
    ) -> Result<(), ArchiveError> {
        if self.last.0 == tag && key <= self.last.1 {
            return Err(ArchiveError::Repeated(told()));
        }
        self.last = (tag, key);
        Ok(())
    }

    fn configuration(
        &mut self,
        what: &'static str,
        len: u64,
        max: u64,
    ) -> Result<Vec<u8>, ArchiveError> {
        let all = self.found.configuration_bytes.saturating_add(len);
        self.found.configuration_bytes = all;
        if all > BACKUP_CONFIGURATION_BYTES_MAX {
            return Err(ArchiveError::Length {
                what: "a configuration",
                len: all,
                max: BACKUP_CONFIGURATION_BYTES_MAX,
            });
        }
        self.payload(what, len, max)
    }

    /// A payload of at most `max` octets, in memory.
    fn payload(&mut self, what: &'static str, len: u64, max: u64) -> Result<Vec<u8>, ArchiveError> {
        if len > max {
            return Err(ArchiveError::Length { what, len, max });
        }
        let mut octets = Vec::new();
        let count = self.source.by_ref().take(len).read_to_end(&mut octets)?;
        self.hasher.update(&octets);
        self.position += count as u64;
        if (count as u64) < len {
            return Err(ArchiveError::Truncated(self.position));
        }
        Ok(octets)
    }

    fn record_head(&mut self) -> Result<(Tag, u64), ArchiveError> {
        let head: [u8; RECORD_HEAD_BYTES] = self.array()?;
        let tag = Tag::of(head[0]).ok_or(ArchiveError::UnknownRecord(head[0]))?;
        let mut len = [0; 8];
        len.copy_from_slice(&head[1..]);
        Ok((tag, u64::from_le_bytes(len)))
    }

    fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], ArchiveError> {
        let mut octets = [0; COUNT];
        self.fill(&mut octets)?;
        Ok(octets)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        let mut done = 0;
        while done < buffer.len() {
            match self.source.read(&mut buffer[done..]) {
                Ok(0) => return Err(ArchiveError::Truncated(self.position)),
                Ok(count) => {
                    done += count;
                    self.position += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.hasher.update(buffer);
        Ok(())
    }
}

impl Content {
    fn check(&self) -> Result<(), ArchiveError> {
        if self.hasher.finalize().as_bytes() != self.hash.as_bytes() {
            return Err(ArchiveError::Image(self.hash));
        }
        Ok(())
    }
}

/// A text with its length before it, and what follows.
fn short(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = octets.split_first()?;
    rest.split_at_checked(usize::from(*len))
}
