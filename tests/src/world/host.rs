//! The catalog of a world, as the endpoint sees it, and who holds what of it.

use std::cell::Cell;
use std::rc::Rc;

use daybreak_tftp::endpoint::{Host, Mode, Opened, Path, Question, Refusal};
use daybreak_tftp::wire::ErrorCode;

use super::content::ImageKey;

/// An image: its size in octets, generation by generation.
#[derive(Clone, Debug)]
pub struct Image {
    /// At least one.
    pub sizes: Vec<u64>,
}

/// What an endpoint holds while a transfer runs. Counted: the monitors know how many there are.
#[derive(Debug)]
pub struct Lease {
    /// Which image.
    pub key: ImageKey,
    held: Rc<Cell<usize>>,
}

impl Lease {
    fn new(key: ImageKey, held: &Rc<Cell<usize>>) -> Self {
        held.set(held.get() + 1);
        let held = Rc::clone(held);
        Lease { key, held }
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        Lease::new(self.key, &self.held)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.held.set(self.held.get() - 1);
    }
}

/// A file that was opened, as the observer is told.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// For whom.
    pub path: Path,
    /// Which.
    pub key: ImageKey,
    /// Its size, in octets.
    pub len: u64,
}

/// The catalog.
#[derive(Debug)]
pub struct Catalog {
    images: Vec<Image>,
    generation: u8,
    held: Rc<Cell<usize>>,
    /// The opening of the present packet.
    opening: Option<Opening>,
}

impl Catalog {
    /// A catalog that serves a generation of these images.
    #[must_use]
    pub fn new(images: Vec<Image>, generation: u8) -> Self {
        Catalog {
            images,
            generation,
            held: Rc::default(),
            opening: None,
        }
    }

    /// The name of an image, which [`open`](Host::open) knows.
    #[must_use]
    pub fn name(image: usize) -> String {
        format!("boot/image-{image}")
    }

    /// The next generation is published.
    pub fn publish(&mut self) {
        self.generation += 1;
    }

    /// The size of an image, in octets. A generation without a size of its own has that of the last one.
    #[must_use]
    pub fn bytes(&self, key: ImageKey) -> u64 {
        let sizes = &self.images[usize::from(key.image)].sizes;
        let size = sizes[usize::from(key.generation).min(sizes.len() - 1)];
        // Every 16th octet, about, becomes two.
        if key.text { size + size / 16 } else { size }
    }

    /// The opening since the last call, if there was one.
    pub fn take_opening(&mut self) -> Option<Opening> {
        self.opening.take()
    }

    /// Leases held.
    #[must_use]
    pub fn leases(&self) -> usize {
        self.held.get()
    }

    fn find(&self, name: &[u8]) -> Option<u16> {
        let number = name.strip_prefix(b"boot/image-")?;
        let number: u16 = std::str::from_utf8(number).ok()?.parse().ok()?;
        (usize::from(number) < self.images.len()).then_some(number)
    }
}

impl Host for Catalog {
    type File = Lease;

    fn open(&mut self, question: &Question<'_>) -> Result<Opened<Lease>, Refusal> {
        let Some(image) = self.find(question.name) else {
            return Err(Refusal {
                code: ErrorCode::FILE_NOT_FOUND,
                text: "no such file",
            });
        };
        let key = ImageKey {
            image,
            generation: self.generation,
            text: question.mode == Mode::Netascii,
        };
        let len = self.bytes(key);
        let path = question.path;
        self.opening = Some(Opening { path, key, len });
        let file = Lease::new(key, &self.held);
        Ok(Opened { file, len })
    }
}
