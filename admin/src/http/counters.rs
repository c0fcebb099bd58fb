//! What is counted, for `/metrics`.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::sync_counters;
use crate::events::FollowerCounts;
use crate::kind::{Body, Kind};
use crate::licences::Known;
use crate::licensing::Standing;
use crate::peer::link::LinkStatus;
use crate::publish::Publication;
use crate::site::Site;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    method: String,
    status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SeatLabel {
    state: String,
}

/// The counters of the administration.
pub(super) struct Counters {
    registry: Registry,
    requests: Family<Answer, Counter>,
    seconds: Histogram,
    objects: Family<OfKind, Gauge>,
    change: Gauge<i64, AtomicI64>,
    published_change: Gauge<i64, AtomicI64>,
    generation: Gauge<i64, AtomicI64>,
    problems: Gauge<i64, AtomicI64>,
    publish_seconds: Gauge<f64, AtomicU64>,
    publish_failing: Gauge<i64, AtomicI64>,
    events_failing: Gauge<i64, AtomicI64>,
    engine_reachable: Gauge<i64, AtomicI64>,
    seats: Family<SeatLabel, Gauge>,
    licences: Gauge<i64, AtomicI64>,
    licence_warnings: Gauge<i64, AtomicI64>,
    licence_end: Gauge<i64, AtomicI64>,
}

impl Counters {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("daybreak_admin");
        let counters = Counters {
            requests: Family::default(),
            seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            objects: Family::default(),
            change: Gauge::default(),
            published_change: Gauge::default(),
            generation: Gauge::default(),
            problems: Gauge::default(),
            publish_seconds: Gauge::default(),
            publish_failing: Gauge::default(),
            events_failing: Gauge::default(),
            engine_reachable: Gauge::default(),
            seats: Family::default(),
            licences: Gauge::default(),
            licence_warnings: Gauge::default(),
            licence_end: Gauge::default(),
            registry: Registry::default(),
        };
        let c = &counters;
        registry.register(
            "requests",
            "Requests that were answered",
            c.requests.clone(),
        );
        registry.register(
            "request_seconds",
            "How long answering took",
            c.seconds.clone(),
        );
        registry.register("objects", "Configured objects", c.objects.clone());
        registry.register(
            "publish_seconds",
            "How long the last publishing took",
            c.publish_seconds.clone(),
        );
        registry.register(
            "seats",
            "Seats: entitled (-1: any number), held by terminals, held beyond what is entitled; and terminals that wait for one",
            c.seats.clone(),
        );
        registry.register(
            "licences_active",
            "Licences that hold now",
            c.licences.clone(),
        );
        registry.register(
            "licence_warnings",
            "Warnings about licences",
            c.licence_warnings.clone(),
        );
        registry.register(
            "licence_end_seconds",
            "When the first licence that holds now ends, in seconds since 1970; 0: none ends",
            c.licence_end.clone(),
        );
        for (name, help, gauge) in [
            (
                "change",
                "Number of the last change of the configuration here",
                &c.change,
            ),
            (
                "published_change",
                "Number of the last change that is published",
                &c.published_change,
            ),
            ("catalog_generation", "What is published", &c.generation),
            (
                "problems",
                "What is wrong with the configuration",
                &c.problems,
            ),
            (
                "publish_failing",
                "1 while publishing fails",
                &c.publish_failing,
            ),
            (
                "events_failing",
                "1 while the journal of events is not followed",
                &c.events_failing,
            ),
            (
                "engine_reachable",
                "1 if the metrics of the engine are below, 0 if it did not tell them",
                &c.engine_reachable,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        Counters {
            registry,
            ..counters
        }
    }

    pub(super) fn answered(&self, method: &actix_web::http::Method, status: u16, took: Duration) {
        // A method is whatever a client sends: only known ones become labels.
        let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
        let method = known
            .into_iter()
            .find(|known| *known == method.as_str())
            .unwrap_or("other");
        let answer = Answer {
            method: method.to_owned(),
            status: status.into(),
        };
        self.requests.get_or_create(&answer).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(super) fn engine_reachable(&self, reachable: bool) {
        self.engine_reachable.set(i64::from(reachable));
    }

    /// The text of `/metrics`.
    pub(super) fn text(
        &self,
        site: &Site,
        publication: &Publication,
        events: &FollowerCounts,
        (pair, licences): (&LinkStatus, &Known),
    ) -> Result<String, core::fmt::Error> {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        for kind in Kind::ALL {
            let label = OfKind {
                kind: kind.word().to_owned(),
            };
            self.objects
                .get_or_create(&label)
                .set(count(site.table(kind).len()));
        }
        self.change.set(whole(site.change()));
        self.published_change.set(whole(publication.change));
        self.generation.set(whole(publication.generation.get()));
        self.problems.set(count(publication.problems.len()));
        self.publish_seconds.set(publication.took.as_secs_f64());
        self.publish_failing
            .set(i64::from(publication.error.is_some()));
        let entitled = site.entitlement().seats;
        let terminals = site.table(Kind::Terminal).objects();
        let waiting = terminals.filter(|object| {
            matches!(&object.body, Body::Terminal(terminal) if terminal.enabled && !terminal.seat.is_held())
        });
        for (state, number) in [
            ("entitled", entitled.number().map_or(-1, whole)),
            ("held", whole(site.seats())),
            ("excess", whole(entitled.excess(site.seats()))),
            ("waiting", count(waiting.count())),
        ] {
            let label = SeatLabel {
                state: state.to_owned(),
            };
            self.seats.get_or_create(&label).set(number);
        }
        let status = &licences.status;
        let active = status.licences.iter();
        let active = active.filter(|(_, standing)| *standing == Standing::Active);
        self.licences.set(count(active.count()));
        self.licence_warnings.set(count(status.warnings.len()));
        self.licence_end
            .set(whole(status.expires_ms.unwrap_or(0) / 1000));
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.events_failing.set(whole(read(&events.failing)));
        let mut text = String::new();
        let mut followed = Registry::with_prefix("daybreak_admin");
        for (name, help, counter) in [
            ("events", "Events stored", &events.events),
            (
                "events_unknown",
                "Records of the journal that a newer engine wrote",
                &events.unknown,
            ),
            (
                "events_removed",
                "Events removed because they were too old or too many",
                &events.removed,
            ),
            (
                "journal_files_lost",
                "Journal files removed before they were read",
                &events.files_lost,
            ),
        ] {
            let shown = Counter::<u64, AtomicU64>::default();
            shown.inc_by(read(counter));
            followed.register(name, help, shown);
        }
        prometheus_client::encoding::text::encode_registry(&mut text, &followed)?;
        sync_counters::add(&mut text, pair)?;
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
