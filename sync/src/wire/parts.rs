//! The parts that messages are made of: rows and what is in them.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Malformed;
use super::octets::{Reader, Writer};
use crate::limits::{
    BODY_BYTES_MAX, ID_BYTES_MAX, IMAGE_BYTES_MAX, IMAGES_OF_A_BODY_MAX, KIND_BYTES_MAX, NODES_MAX,
    TEXT_BYTES_MAX, VALUES_MAX,
};
use crate::{
    Body, Dot, Head, Heads, ImageHash, ImageRef, Mark, NodeId, ObjectKey, Row, Stamp, Value,
    Version,
};

/// A row as it travels, and as it is digested.
pub(crate) fn encode_row(row: &Row) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.row(row);
    writer.0
}

impl Writer {
    pub(super) fn text(&mut self, text: &str) {
        let boundaries = (0..=TEXT_BYTES_MAX.min(text.len())).rev();
        let cut = boundaries
            .into_iter()
            .find(|&at| text.is_char_boundary(at))
            .unwrap_or(0);
        self.octets(&text.as_bytes()[..cut]);
    }

    pub(super) fn node(&mut self, node: NodeId) {
        self.put(&node.to_bytes());
    }

    pub(super) fn head(&mut self, head: Head) {
        self.u64(head.position);
        self.put(&head.mark.0);
    }

    pub(super) fn heads(&mut self, heads: &Heads) {
        self.count(heads.iter().len());
        for (node, head) in heads.iter() {
            self.node(node);
            self.head(head);
        }
    }

    pub(super) fn key(&mut self, key: &ObjectKey) {
        self.octets(key.kind().as_bytes());
        self.octets(key.id().as_bytes());
    }

    pub(super) fn image(&mut self, image: ImageRef) {
        self.put(&image.hash.0);
        self.u64(image.bytes);
    }

    pub(super) fn row(&mut self, row: &Row) {
        self.key(&row.key);
        self.count(row.version.iter().len());
        for (node, change) in row.version.iter() {
            self.node(node);
            self.u64(change);
        }
        self.count(row.values().len());
        for value in row.values() {
            self.value(value);
        }
    }

    fn value(&mut self, value: &Value) {
        self.node(value.dot.node);
        self.u64(value.dot.number);
        self.u64(value.stamp.time_ms);
        self.u32(value.stamp.counter);
        self.node(value.stamp.node);
        self.u8(value.late.into());
        self.u8(value.body.is_some().into());
        if let Some(body) = &value.body {
            self.octets(&body.octets);
            self.count(body.images.len());
            for image in &*body.images {
                self.image(*image);
            }
        }
    }
}

impl Reader<'_> {
    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        let octets = self.octets(TEXT_BYTES_MAX, "octets of a text")?;
        let text = core::str::from_utf8(octets).map_err(|_| Malformed::Not("text"))?;
        Ok(text.into())
    }

    pub(super) fn node(&mut self) -> Result<NodeId, Malformed> {
        self.array().map(NodeId::from_random)
    }

    pub(super) fn head(&mut self) -> Result<Head, Malformed> {
        Ok(Head {
            position: self.u64()?,
            mark: Mark(self.array()?),
        })
    }

    pub(super) fn heads(&mut self) -> Result<Heads, Malformed> {
        let count = self.count(NODES_MAX, 32, "nodes")?;
        let mut last = None;
        (0..count)
            .map(|_| {
                let node = self.node()?;
                rises(&mut last, node, "list of heads")?;
                Ok((node, self.head()?))
            })
            .collect()
    }

    pub(super) fn key(&mut self) -> Result<ObjectKey, Malformed> {
        let kind = self.octets(KIND_BYTES_MAX, "octets of a kind")?;
        let id = self.octets(ID_BYTES_MAX, "octets of an identifier")?;
        let text = |octets| core::str::from_utf8(octets).unwrap_or_default();
        ObjectKey::parse(text(kind), text(id)).ok_or(Malformed::Not("key"))
    }

    pub(super) fn image(&mut self) -> Result<ImageRef, Malformed> {
        let hash = ImageHash(self.array()?);
        let bytes = self.u64()?;
        if bytes > IMAGE_BYTES_MAX {
            return Err(Malformed::TooMany("octets of an image"));
        }
        Ok(ImageRef { hash, bytes })
    }

    pub(super) fn row(&mut self) -> Result<Row, Malformed> {
        let key = self.key()?;
        let count = self.count(NODES_MAX, 16, "nodes")?;
        let mut last = None;
        let version: Result<Version, Malformed> = (0..count)
            .map(|_| {
                let node = self.node()?;
                rises(&mut last, node, "version")?;
                Ok((node, self.u64()?))
            })
            .collect();
        let version = version?;
        let count = self.count(VALUES_MAX, 38, "values")?;
        let values: Result<Vec<Value>, Malformed> = (0..count).map(|_| self.value()).collect();
        let values = values?;
        if !values.iter().all(|value| version.covers(value.dot)) {
            return Err(Malformed::Not("version of these values"));
        }
        // One spelling of each row: what is read and what was digested are the same octets.
        let row = Row::new(key, version, values.clone()).ok_or(Malformed::Not("row"))?;
        if row.values() != values {
            return Err(Malformed::Not("order of values"));
        }
        Ok(row)
    }

    fn value(&mut self) -> Result<Value, Malformed> {
        let dot = Dot {
            node: self.node()?,
            number: self.u64()?,
        };
        let stamp = Stamp {
            time_ms: self.u64()?,
            counter: self.u32()?,
            node: self.node()?,
        };
        let late = self.flag()?;
        let body = if self.flag()? {
            Some(self.body()?)
        } else {
            None
        };
        Ok(Value {
            dot,
            stamp,
            late,
            body,
        })
    }

    fn body(&mut self) -> Result<Body, Malformed> {
        let octets = Arc::from(self.octets(BODY_BYTES_MAX, "octets of a body")?);
        let count = self.count(IMAGES_OF_A_BODY_MAX, 40, "images")?;
        let images: Result<Vec<ImageRef>, Malformed> = (0..count).map(|_| self.image()).collect();
        Ok(Body {
            octets,
            images: images?.into(),
        })
    }
}

fn rises(last: &mut Option<NodeId>, node: NodeId, what: &'static str) -> Result<(), Malformed> {
    if last.replace(node).is_some_and(|last| last >= node) {
        return Err(Malformed::Not(what));
    }
    Ok(())
}
