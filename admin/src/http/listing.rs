//! Lists: filtered, in a stable order, page by page.
//!
//! A page ends with a cursor: the place of its last object in the order. The next page begins after that place, also
//! when objects came or went in between, so that none is shown twice or left out that was there all the time.

use std::sync::Arc;

use super::error::ApiError;
use super::request::{unknown_parameter, wrong_parameter};
use crate::kind::{Body, Kind};
use crate::limits::{PAGE_ITEMS, PAGE_ITEMS_MAX};
use crate::object::{Id, Object};
use crate::site::Site;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    sort: Sort,
    descending: bool,
    limit: usize,
    after: Option<(String, Id)>,
    filters: Vec<Filter>,
}

/// A page.
pub(super) struct Page {
    pub(super) items: Vec<Arc<Object>>,
    /// How many objects the filters let through, on all pages.
    pub(super) total: usize,
    /// Where the next page begins; nothing, if this is the last.
    pub(super) next: Option<String>,
}

/// What may be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Name,
    Id,
    Changed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Filter {
    /// The name holds this, whatever the case.
    Name(String),
    /// A terminal's own group.
    Group(Id),
    /// A terminal's own model.
    Model(Id),
    /// One of a terminal's cards, or the beginning of it.
    Mac(String),
    /// Terminals, users, keys.
    Enabled(bool),
}

/// The parameters that a list of this kind takes.
pub(super) fn parameters(kind: Kind) -> Vec<(&'static str, &'static str)> {
    let mut known = vec![
        (
            "limit",
            "how many objects a page has: 1 to 500, otherwise 50",
        ),
        (
            "after",
            "the cursor of the page before: what it gave as next",
        ),
        (
            "sort",
            "name, id or changed; with - before it, the other way round",
        ),
        (
            "name",
            "only objects whose name holds this, whatever the case",
        ),
    ];
    if kind == Kind::Terminal {
        known.push(("group", "only terminals of this group itself"));
        known.push(("model", "only terminals that name this model"));
        known.push(("mac", "only terminals with a card that begins like this"));
    }
    if matches!(kind, Kind::Terminal | Kind::User | Kind::ApiKey) {
        known.push(("enabled", "true or false"));
    }
    known
}

impl Listing {
    /// Reads the parameters of a list of `kind`.
    pub(super) fn parse(kind: Kind, pairs: Vec<(String, String)>) -> Result<Self, ApiError> {
        let known = parameters(kind);
        let mut listing = Listing {
            sort: Sort::Name,
            descending: false,
            limit: PAGE_ITEMS,
            after: None,
            filters: Vec::new(),
        };
        for (name, value) in pairs {
            if !known.iter().any(|(known, _)| *known == name) {
                return Err(unknown_parameter(&name));
            }
            let wrong = |why| wrong_parameter(&name, why);
            let id = |value: &str| Id::parse(value).map_err(|_| wrong("this is not an identifier"));
            match name.as_str() {
                "limit" => {
                    let limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=PAGE_ITEMS_MAX).contains(limit));
                    listing.limit = limit.ok_or_else(|| wrong("a page has 1 to 500 objects"))?;
                }
                "after" => {
                    listing.after =
                        Some(read_cursor(&value).ok_or_else(|| wrong("this is no cursor"))?);
                }
                "sort" => {
                    let column = value.strip_prefix('-');
                    listing.descending = column.is_some();
                    listing.sort = match column.unwrap_or(&value) {
                        "name" => Sort::Name,
                        "id" => Sort::Id,
                        "changed" => Sort::Changed,
                        _ => return Err(wrong("sort by name, id or changed")),
                    };
                }
                "name" => listing.filters.push(Filter::Name(value.to_lowercase())),
                "group" => listing.filters.push(Filter::Group(id(&value)?)),
                "model" => listing.filters.push(Filter::Model(id(&value)?)),
                "mac" => listing
                    .filters
                    .push(Filter::Mac(value.to_lowercase().replace('-', ":"))),
                _ => {
                    let enabled = value.parse().map_err(|_| wrong("this is true or false"))?;
                    listing.filters.push(Filter::Enabled(enabled));
                }
            }
        }
        Ok(listing)
    }

    /// Reads what chooses and orders objects of `kind`, without pages.
    pub(super) fn parse_filters(
        kind: Kind,
        pairs: Vec<(String, String)>,
    ) -> Result<Self, ApiError> {
        let paging = |name: &str| matches!(name, "limit" | "after");
        match pairs.iter().find(|(name, _)| paging(name)) {
            Some((name, _)) => Err(unknown_parameter(name)),
            None => Listing::parse(kind, pairs),
        }
    }

    /// The page of the objects of `kind`.
    pub(super) fn page(&self, site: &Site, kind: Kind) -> Page {
        let found = self.all(site, kind);
        let total = found.len();
        let start = self.after.as_ref().map_or(0, |after| {
            found.partition_point(|object| match self.descending {
                false => self.place(object) <= *after,
                true => self.place(object) >= *after,
            })
        });
        let items: Vec<_> = found[start..]
            .iter()
            .take(self.limit)
            .map(|object| Arc::clone(object))
            .collect();
        let more = start + items.len() < total;
        let next = items.last().filter(|_| more).map(|last| {
            let (key, id) = self.place(last);
            format!("{id}.{key}")
        });
        Page { items, total, next }
    }

    /// Every object of `kind` that the filters let through, in order.
    pub(super) fn all<'s>(&self, site: &'s Site, kind: Kind) -> Vec<&'s Arc<Object>> {
        let table = site.table(kind);
        let passes = |folded: &str, object: &Object| {
            let mut filters = self.filters.iter();
            filters.all(|filter| filter.passes(folded, &object.body))
        };
        let by_name = |filter: &Filter| matches!(filter, Filter::Name(_));
        // In either order the table is as it is; in that of identifiers, without the names in lower case.
        if self.sort == Sort::Id && !self.filters.iter().any(by_name) {
            let found = table.objects().filter(|object| passes("", object));
            return self.directed(found.collect());
        }
        let found = table.folded_names();
        let found = found.filter(|(folded, object)| passes(folded, object));
        let mut found: Vec<&'s Arc<Object>> = found.map(|(_, object)| object).collect();
        match self.sort {
            Sort::Name => {}
            Sort::Id => found.sort_unstable_by_key(|object| &object.id),
            Sort::Changed => found.sort_unstable_by_key(|object| {
                (object.stamp.time_ms, object.stamp.counter, &object.id)
            }),
        }
        self.directed(found)
    }

    fn directed<'s>(&self, mut found: Vec<&'s Arc<Object>>) -> Vec<&'s Arc<Object>> {
        if self.descending {
            found.reverse();
        }
        found
    }

    /// Where an object is in the order.
    fn place(&self, object: &Object) -> (String, Id) {
        let key = match self.sort {
            Sort::Name => object.body.name().to_lowercase(),
            Sort::Id => String::new(),
            Sort::Changed => format!("{:020}-{:010}", object.stamp.time_ms, object.stamp.counter),
        };
        (key, object.id.clone())
    }
}

/// An identifier has no dot, so the first one ends it.
fn read_cursor(text: &str) -> Option<(String, Id)> {
    let (id, key) = text.split_once('.')?;
    Some((key.to_owned(), Id::parse(id).ok()?))
}

impl Filter {
    /// Whether it lets an object through that has this name in lower case.
    fn passes(&self, folded: &str, body: &Body) -> bool {
        match (self, body) {
            (Filter::Name(part), _) => folded.contains(part),
            (Filter::Group(id), Body::Terminal(terminal)) => terminal.group.as_ref() == Some(id),
            (Filter::Model(id), Body::Terminal(terminal)) => terminal.model.as_ref() == Some(id),
            (Filter::Mac(start), Body::Terminal(terminal)) => {
                terminal.macs.iter().any(|mac| mac.starts_with(start))
            }
            (Filter::Enabled(enabled), Body::Terminal(terminal)) => terminal.enabled == *enabled,
            (Filter::Enabled(enabled), Body::User(user)) => user.enabled == *enabled,
            (Filter::Enabled(enabled), Body::ApiKey(key)) => key.enabled == *enabled,
            _ => false,
        }
    }
}
