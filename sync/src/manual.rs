//! Manual synchronization: one server is made the same as another, once, because an operator says so.
//!
//! A [`Plan`] is what would change, for people to look at. It holds for the two states that it was made from: confirmed
//! for others it is refused. A [`Run`] is what is to be done, and how far it is. Whoever drives it takes a backup of the
//! destination, fetches the images, and then writes everything in one transaction ([`overwritten`](crate::host::overwritten)).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::{Body, Digest, ImageRef, ObjectKey};

/// What operators call the parts of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Firmware packages.
    Firmware,
    /// Hardware models.
    TermCap,
    /// Modules.
    Modules,
    /// Everything else that is synchronized. Licences and what belongs to one server are in no inventory.
    Configuration,
}

/// One object of an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it belongs.
    pub part: Part,
    /// Its name, for people.
    pub name: String,
    /// What it says and which images it names; nothing: there is no such object, and only a conflict about that.
    pub body: Option<Body>,
    /// It has a conflict.
    pub contested: bool,
}

/// All objects of one server, as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    items: BTreeMap<ObjectKey, Item>,
    sum: Digest,
}

/// What happens to an object of the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Only the source has it.
    Add,
    /// Both have it, and it is not the same, or there is a conflict about it at the destination.
    Change,
    /// Only the destination has it, or a conflict about it.
    Delete,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which object.
    pub key: ObjectKey,
    /// Where it belongs.
    pub part: Part,
    /// Its name, as the source has it, or the destination if that alone has it.
    pub name: String,
    /// What happens to it.
    pub action: Action,
    /// It has a conflict at the destination, which is settled by that.
    pub contested: bool,
}

/// What would change. See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    source: Digest,
    destination: Digest,
    /// The differences, in the order of their keys.
    pub differences: Vec<Difference>,
}

/// A plan was made for another state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfDate {
    /// The source has changed.
    #[error("the source has changed since the differences were shown; look at them again")]
    Source,
    /// The destination has changed.
    #[error("the destination has changed since the differences were shown; look at them again")]
    Destination,
}

/// A confirmed plan, on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What the destination's objects become: a body, or nothing.
    pub steps: Vec<(ObjectKey, Option<Body>)>,
    /// The images that the destination must have first. What it has is left out by whoever fetches them.
    pub images: BTreeSet<ImageRef>,
    started: Duration,
    bytes_done: u64,
    objects_done: usize,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunProgress {
    /// Objects that are written, of so many.
    pub objects: (usize, usize),
    /// Octets of images that are fetched, of so many.
    pub bytes: (u64, u64),
    /// Octets per second so far.
    pub rate: u64,
    /// How long it still takes at this rate, if that can be said.
    pub left: Option<Duration>,
}

impl Inventory {
    /// The inventory of these objects.
    pub fn of(items: impl IntoIterator<Item = (ObjectKey, Item)>) -> Self {
        let items: BTreeMap<ObjectKey, Item> = items.into_iter().collect();
        let sum = items
            .iter()
            .map(|(key, item)| digest(key, item))
            .fold(Digest::default(), Digest::with);
        Inventory { items, sum }
    }
}

fn digest(key: &ObjectKey, item: &Item) -> Digest {
    let mut hasher = blake3::Hasher::new();
    let octets = item.body.as_ref().map_or(&[][..], |body| &body.octets);
    for octets in [key.kind().as_bytes(), key.id().as_bytes(), octets] {
        hasher.update(&(octets.len() as u64).to_be_bytes());
        hasher.update(octets);
    }
    hasher.update(&[item.contested.into(), item.body.is_some().into()]);
    for image in item.body.iter().flat_map(|body| &*body.images) {
        hasher.update(&image.hash.0);
    }
    Digest::from_bytes(*hasher.finalize().as_bytes())
}

impl Plan {
    /// What makes the destination the same as the source.
    #[must_use]
    pub fn of(source: &Inventory, destination: &Inventory) -> Self {
        let keys: BTreeSet<&ObjectKey> = source
            .items
            .keys()
            .chain(destination.items.keys())
            .collect();
        let difference = |key: &ObjectKey| {
            let here = destination.items.get(key);
            let contested = here.is_some_and(|here| here.contested);
            let there = source.items.get(key).filter(|there| there.body.is_some());
            let said = |item: Option<&Item>| item.and_then(|item| item.body.clone());
            let (item, action) = match (there, here) {
                _ if said(there) == said(here) && !contested => return None,
                (Some(there), Some(here)) if here.body.is_some() => (there, Action::Change),
                (Some(there), _) => (there, Action::Add),
                (None, Some(here)) => (here, Action::Delete),
                (None, None) => return None,
            };
            Some(Difference {
                key: key.clone(),
                part: item.part,
                name: item.name.clone(),
                action,
                contested,
            })
        };
        Plan {
            source: source.sum,
            destination: destination.sum,
            differences: keys.into_iter().filter_map(difference).collect(),
        }
    }

    /// The sums of the source and of the destination that it was made from.
    #[must_use]
    pub fn sums(&self) -> (Digest, Digest) {
        (self.source, self.destination)
    }

    /// Whether it was made from these.
    ///
    /// # Errors
    /// [`OutOfDate`].
    pub fn check(&self, (source, destination): (Digest, Digest)) -> Result<(), OutOfDate> {
        if source != self.source {
            return Err(OutOfDate::Source);
        }
        if destination != self.destination {
            return Err(OutOfDate::Destination);
        }
        Ok(())
    }

    /// How many differences of each part and action.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<(Part, Action), usize> {
        let mut counts = BTreeMap::new();
        for difference in &self.differences {
            *counts
                .entry((difference.part, difference.action))
                .or_default() += 1;
        }
        counts
    }

    /// What is to be done, if both are still as they were.
    ///
    /// # Errors
    /// [`OutOfDate`].
    pub fn confirm(
        &self,
        source: &Inventory,
        destination: &Inventory,
        now: Duration,
    ) -> Result<Run, OutOfDate> {
        self.check((source.sum, destination.sum))?;
        let body = |key: &ObjectKey| source.items.get(key).and_then(|item| item.body.clone());
        let steps: Vec<_> = self
            .differences
            .iter()
            .map(|difference| (difference.key.clone(), body(&difference.key)))
            .collect();
        let bodies = steps.iter().filter_map(|(_, body)| body.as_ref());
        let images = bodies.flat_map(|body| body.images.iter().copied());
        Ok(Run {
            images: images.collect(),
            steps,
            started: now,
            bytes_done: 0,
            objects_done: 0,
        })
    }
}

impl Run {
    /// So many more octets of images are here.
    pub fn fetched(&mut self, bytes: u64) {
        self.bytes_done += bytes;
    }

    /// Everything is written.
    pub fn written(&mut self) {
        self.objects_done = self.steps.len();
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self, now: Duration) -> RunProgress {
        let all = self.bytes();
        let objects = (self.objects_done, self.steps.len());
        let elapsed = now.saturating_sub(self.started);
        RunProgress::of(objects, (self.bytes_done.min(all), all), elapsed)
    }

    /// Octets of all its images.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.images.iter().map(|image| image.bytes).sum()
    }
}

impl RunProgress {
    /// After this time.
    #[must_use]
    pub fn of(objects: (usize, usize), (done, all): (u64, u64), elapsed: Duration) -> Self {
        let millis = elapsed.as_millis().max(1);
        let rate = u64::try_from(u128::from(done) * 1000 / millis).unwrap_or(u64::MAX);
        let left = (all - done).checked_div(rate).map(Duration::from_secs);
        RunProgress {
            objects,
            bytes: (done, all),
            rate,
            left: if done == all {
                Some(Duration::ZERO)
            } else {
                left
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageHash;
    use alloc::vec;

    fn item(says: &str, image: Option<u64>) -> Item {
        let images: Vec<ImageRef> = image
            .into_iter()
            .map(|bytes| ImageRef {
                hash: ImageHash([7; 32]),
                bytes,
            })
            .collect();
        Item {
            part: if image.is_some() {
                Part::Firmware
            } else {
                Part::Configuration
            },
            name: says.into(),
            body: Some(Body {
                octets: says.as_bytes().into(),
                images: images.into(),
            }),
            contested: false,
        }
    }

    fn inventory(items: &[(&str, Item)]) -> Inventory {
        Inventory::of(items.iter().map(|(id, item)| {
            let key = ObjectKey::parse("terminal", id).expect("a key");
            (key, item.clone())
        }))
    }

    #[test]
    fn a_plan_says_what_is_added_changed_and_deleted_and_a_run_does_it() {
        let source = inventory(&[
            ("a", item("same", None)),
            ("b", item("new", None)),
            ("c", item("added", Some(1000))),
        ]);
        let destination = inventory(&[
            ("a", item("same", None)),
            ("b", item("old", None)),
            ("d", item("gone", None)),
        ]);
        let plan = Plan::of(&source, &destination);
        let shown: Vec<_> = plan
            .differences
            .iter()
            .map(|difference| (difference.name.as_str(), difference.action))
            .collect();
        let expected = vec![
            ("new", Action::Change),
            ("added", Action::Add),
            ("gone", Action::Delete),
        ];
        assert_eq!(shown, expected);
        assert_eq!(plan.counts()[&(Part::Firmware, Action::Add)], 1);

        let start = Duration::from_secs(5);
        let mut run = plan
            .confirm(&source, &destination, start)
            .expect("as it was");
        run.fetched(250);
        let progress = run.progress(start + Duration::from_secs(1));
        assert_eq!(progress.bytes, (250, 1000));
        assert_eq!(
            (progress.rate, progress.left),
            (250, Some(Duration::from_secs(3)))
        );
        let mut result = destination;
        for (key, body) in run.steps {
            match (body, source.items.get(&key)) {
                (Some(_), Some(item)) => drop(result.items.insert(key, item.clone())),
                _ => drop(result.items.remove(&key)),
            }
        }
        assert!(
            Plan::of(&source, &Inventory::of(result.items))
                .differences
                .is_empty()
        );
    }

    #[test]
    fn a_conflict_at_the_destination_is_a_difference_and_what_the_source_says_settles_it() {
        let contested = |item: Item| Item {
            contested: true,
            ..item
        };
        let deleted = Item {
            body: None,
            ..contested(item("deleted here and changed there", None))
        };
        let source = inventory(&[("a", contested(item("same", None))), ("b", deleted.clone())]);
        let plan = Plan::of(&source, &source);
        let shown: Vec<_> = plan
            .differences
            .iter()
            .map(|difference| (difference.key.id(), difference.action, difference.contested))
            .collect();
        assert_eq!(
            shown,
            [("a", Action::Change, true), ("b", Action::Delete, true)]
        );
        let run = plan.confirm(&source, &source, Duration::ZERO);
        let steps = run.expect("as it was").steps;
        assert_eq!(steps[0].1, item("same", None).body);
        assert_eq!(steps[1].1, None);
        // One of the source alone is its own matter; one that was settled meanwhile is not what was looked at.
        let settled = inventory(&[("a", item("same", None))]);
        assert!(Plan::of(&source, &settled).differences.is_empty());
        let now = Duration::ZERO;
        assert_eq!(
            plan.confirm(&source, &settled, now),
            Err(OutOfDate::Destination)
        );
    }

    #[test]
    fn a_plan_that_is_out_of_date_is_refused() {
        let (one, other) = (
            inventory(&[("a", item("one", None))]),
            inventory(&[("a", item("other", None))]),
        );
        let plan = Plan::of(&one, &other);
        let now = Duration::ZERO;
        assert_eq!(plan.confirm(&other, &other, now), Err(OutOfDate::Source));
        assert_eq!(plan.confirm(&one, &one, now), Err(OutOfDate::Destination));
        assert!(plan.confirm(&one, &other, now).is_ok());
    }
}
