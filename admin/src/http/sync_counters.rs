//! What is told of the pair in `/metrics`.

use core::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::sync::{STATES, word};
use crate::peer::link::LinkStatus;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: String,
}

/// Adds them to the text.
pub(super) fn add(text: &mut String, status: &LinkStatus) -> fmt::Result {
    let mut registry = Registry::with_prefix("daybreak_admin_sync");
    let session = status.session.as_ref();
    let states = Family::<OfState, Gauge<i64, AtomicI64>>::default();
    let now = session.map_or("disabled", |session| word(&session.state));
    for state in STATES {
        let label = OfState {
            state: state.to_owned(),
        };
        states.get_or_create(&label).set(i64::from(state == now));
    }
    registry.register("state", "1 for the state of the pair", states);
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let mut gauge = |name: &str, help: &str, value: i64| {
        let shown = Gauge::<i64, AtomicI64>::default();
        shown.set(value);
        registry.register(name, help, shown);
    };
    let paired = i64::from(status.pair.partner.is_some());
    gauge(
        "paired",
        "1 if this server is paired with another one",
        paired,
    );
    if let Some(agrees) = status.licences.agrees() {
        gauge(
            "licences_agree",
            "1 if both servers have the same licences",
            agrees.into(),
        );
    }
    if let Some(session) = session {
        let to_go = &session.progress;
        gauge(
            "head",
            "Writes of this server's database",
            whole(session.head.position),
        );
        gauge(
            "confirmed",
            "Writes of this server that the other one holds on its disk",
            whole(session.confirmed.position),
        );
        gauge(
            "taken_in",
            "Writes of the other server that were taken in here",
            session.taken_in.map_or(0, |head| whole(head.position)),
        );
        gauge(
            "changes_to_go",
            "Changes of the other server that are not here",
            whole(to_go.changes),
        );
        gauge(
            "images_to_go",
            "Images that are on their way or wanted",
            count(to_go.images),
        );
        gauge(
            "image_bytes_to_go",
            "Octets of images that are not here",
            whole(to_go.image_bytes_left),
        );
        gauge(
            "images_unavailable",
            "Images that are not whole on the other server, either",
            count(to_go.images_unavailable),
        );
        gauge(
            "conflicts",
            "Objects that were changed on both servers, and wait for a choice",
            count(session.conflicts),
        );
        if let Some(peer) = &session.peer {
            gauge(
                "clock_skew_ms",
                "Milliseconds by which the other server's clock is ahead",
                peer.skew_ms,
            );
        }
        if let Some(last_ms) = session.last_in_sync_ms {
            gauge(
                "last_in_sync_seconds",
                "When both last held the same, in seconds since 1970",
                whole(last_ms / 1000),
            );
        }
    }
    let counts = &status.counts;
    for (name, help, value) in [
        (
            "connections",
            "Connections to the other server",
            counts.connections,
        ),
        (
            "messages_received",
            "Messages of the other server",
            counts.messages_in,
        ),
        (
            "messages_sent",
            "Messages to the other server",
            counts.messages_out,
        ),
        (
            "objects_taken_in",
            "Objects that were written as the other server said",
            counts.objects,
        ),
        (
            "images_fetched",
            "Images that came from the other server",
            counts.images,
        ),
        ("conflicts_found", "Conflicts that arose", counts.conflicts),
        (
            "values_dropped",
            "Values that were dropped because an object had too many",
            counts.dropped,
        ),
        (
            "tails_lost",
            "Times that the disk had lost the newest changes",
            counts.tails_lost,
        ),
    ] {
        let shown = Counter::<u64, AtomicU64>::default();
        shown.inc_by(value);
        registry.register(name, help, shown);
    }
    encode_registry(text, &registry)
}
