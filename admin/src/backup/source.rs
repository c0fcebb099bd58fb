//! A backup that is read: what it would make of the configuration, and its images as they come.

use std::collections::BTreeMap;
use std::io::Read;

use daybreak_store::{ImageHash, Name};

use super::BackupError;
use super::archive::{ArchiveError, Head, Reader, Record};
use crate::kind::{Body, Kind};
use crate::object::Id;
use crate::site::StoredFile;

/// What a backup says that there is.
#[derive(Debug, Default)]
pub struct Target {
    /// The objects.
    pub objects: BTreeMap<(Kind, Id), Body>,
    /// The files that are stored as images.
    pub files: BTreeMap<Name, StoredFile>,
}

/// A backup that is being read: [`open`](Self::open) reads the objects and files, [`images`](Self::images) the rest.
pub struct Source<R> {
    reader: Reader<R>,
    target: Target,
    first_image: Option<(ImageHash, u64)>,
}

impl<R: Read> Source<R> {
    /// Reads the objects and the names of the files.
    pub fn open(source: R) -> Result<Self, BackupError> {
        let mut reader = Reader::open(source).map_err(told)?;
        let mut target = Target::default();
        let mut first_image = None;
        while let Some(record) = reader.next_record().map_err(told)? {
            match record {
                Record::Object { kind, id, body } => {
                    let body = read_body(kind, &id, &body)?;
                    target.objects.insert((kind, id), body);
                }
                Record::File { name, hash, len } => {
                    target.files.insert(name, StoredFile { hash, len });
                }
                Record::Image { hash, len } => {
                    first_image = Some((hash, len));
                    break;
                }
            }
        }
        Ok(Source {
            reader,
            target,
            first_image,
        })
    }

    /// What it says of itself.
    #[must_use]
    pub fn head(&self) -> &Head {
        self.reader.head()
    }

    /// What it says that there is. True only when [`images`](Self::images) has reached the end.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Gives each image to `each`, which may read it or not, and checks the rest of the backup up to its end. Its target,
    /// and its checksum.
    pub fn images(
        mut self,
        mut each: impl FnMut(ImageHash, u64, &mut dyn Read) -> Result<(), BackupError>,
    ) -> Result<(Target, ImageHash), BackupError> {
        let mut next = self.first_image.take();
        while let Some((hash, len)) = next {
            let mut content = Content {
                reader: &mut self.reader,
            };
            each(hash, len, &mut content).map_err(BackupError::unwrapped)?;
            next = match self.reader.next_record().map_err(told)? {
                Some(Record::Image { hash, len }) => Some((hash, len)),
                Some(_) => return Err(ArchiveError::Order.into()),
                None => None,
            };
        }
        // Without images the end was read when it was opened.
        let checksum = self.reader.checksum().ok_or(ArchiveError::Order)?;
        Ok((self.target, checksum))
    }
}

fn told(error: ArchiveError) -> BackupError {
    BackupError::Archive(error).unwrapped()
}

/// A body that was accepted once, by this version or an older one: as the database reads its own.
fn read_body(kind: Kind, id: &Id, json: &[u8]) -> Result<Body, ArchiveError> {
    let wrong = |why: String| ArchiveError::Object {
        kind,
        id: id.clone(),
        why,
    };
    let value = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
    let body = Body::parse_stored(kind, &value).map_err(|fault| wrong(fault.to_string()))?;
    match &body {
        Body::Setting(setting) if setting.id() != *id => {
            Err(wrong("its key is not its identifier".into()))
        }
        _ => Ok(body),
    }
}

struct Content<'c, R> {
    reader: &'c mut Reader<R>,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.reader.read(buffer).map_err(std::io::Error::other)
    }
}
