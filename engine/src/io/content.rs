//! What a transfer sends: the octets of a file, as memory that only the kernel reads.

use std::rc::Rc;

use daybreak_store::Image;

use crate::texts::Text;

/// A handle to the content of a file. A clone is one plain addition, never shared between cores; the memory
/// stays where it is until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Content(Rc<Named>);

#[derive(Debug)]
struct Named {
    name: Box<str>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// A file of the store, or an entry that lies in its catalog.
    Image(Image),
    /// Text converted for netascii.
    Text(Rc<Text>),
}

impl Content {
    /// The content of an entry of the catalog.
    #[must_use]
    pub fn image(name: &str, image: Image) -> Self {
        Content(Rc::new(Named {
            name: name.into(),
            source: Source::Image(image),
        }))
    }

    /// Text in the form of the wire.
    #[must_use]
    pub fn text(name: &str, text: Rc<Text>) -> Self {
        Content(Rc::new(Named {
            name: name.into(),
            source: Source::Text(text),
        }))
    }

    /// The name of the entry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Octets in it.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.0.source {
            Source::Image(image) => image.len(),
            Source::Text(text) => text.octets().len() as u64,
        }
    }

    /// Whether it has no octet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many handles there are to it.
    #[must_use]
    pub fn handles(&self) -> usize {
        Rc::strong_count(&self.0)
    }

    /// The first octet. A file may have been truncated from outside, so these octets must never be read here:
    /// only named to the kernel, whose read then fails with EFAULT instead of a signal.
    pub(super) fn as_ptr(&self) -> *const u8 {
        match &self.0.source {
            Source::Image(image) => image.as_ptr(),
            Source::Text(text) => text.octets().as_ptr(),
        }
    }
}
