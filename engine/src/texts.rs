//! Files in the form of netascii: converted once, shared by the transfers that use them, within a bound.

use std::cell::Cell;
use std::io;
use std::rc::{Rc, Weak};

use daybreak_store::{EntryId, Image};
use daybreak_tftp::netascii;

use crate::io::Content;
use crate::limits;

/// Why a text cannot be had.
#[derive(Debug)]
pub enum TextError {
    /// The file is too large.
    TooLarge,
    /// Too much text is in use already.
    Full,
    /// The file cannot be read.
    Io(io::Error),
}

/// The converted texts of one worker. A text is held by its transfers, and by nobody else but the last one used.
#[derive(Debug, Default)]
pub struct Texts {
    bytes: Rc<Cell<usize>>,
    known: Vec<(EntryId, Weak<Text>)>,
    last: Option<Rc<Text>>,
}

/// A text in use, and its share of the bound.
#[derive(Debug)]
pub struct Text {
    octets: Box<[u8]>,
    bytes: Rc<Cell<usize>>,
}

impl Text {
    /// A text that is counted in `bytes` for as long as it is in use.
    pub(crate) fn new(octets: Vec<u8>, bytes: Rc<Cell<usize>>) -> Self {
        bytes.set(bytes.get() + octets.len());
        Text {
            octets: octets.into(),
            bytes,
        }
    }

    /// The octets for the wire.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        self.bytes.set(self.bytes.get() - self.octets.len());
    }
}

impl Texts {
    /// The text of an entry of the present catalog.
    ///
    /// # Errors
    /// See [`TextError`].
    pub fn open(&mut self, id: EntryId, name: &str, image: &Image) -> Result<Content, TextError> {
        let held = self.known.iter().find(|(known, _)| *known == id);
        let text = match held.and_then(|(_, text)| text.upgrade()) {
            Some(text) => text,
            None => {
                let text = Rc::new(self.convert(image)?);
                self.known.retain(|(_, text)| text.strong_count() > 0);
                self.known.push((id, Rc::downgrade(&text)));
                text
            }
        };
        self.last = Some(text.clone());
        Ok(Content::text(name, text))
    }

    /// Entry numbers mean other files from now on.
    pub fn forget(&mut self) {
        self.known.clear();
        self.last = None;
    }

    fn convert(&mut self, image: &Image) -> Result<Text, TextError> {
        if image.len() > limits::NETASCII_FILE_BYTES_MAX {
            return Err(TextError::TooLarge);
        }
        let mut raw = vec![0; usize::try_from(image.len()).map_err(|_| TextError::TooLarge)?];
        let mut at = 0;
        while at < raw.len() {
            match image
                .read_at(at as u64, &mut raw[at..])
                .map_err(TextError::Io)?
            {
                0 => return Err(TextError::Io(io::ErrorKind::UnexpectedEof.into())),
                count => at += count,
            }
        }
        let len = usize::try_from(netascii::encoded_len(&raw)).map_err(|_| TextError::TooLarge)?;
        // What only waits for another use makes room first.
        if self.bytes.get() + len > limits::NETASCII_BYTES_MAX {
            self.last = None;
        }
        if self.bytes.get() + len > limits::NETASCII_BYTES_MAX {
            return Err(TextError::Full);
        }
        let mut wire = Vec::with_capacity(len);
        netascii::encode(&raw, &mut wire);
        Ok(Text::new(wire, self.bytes.clone()))
    }
}
