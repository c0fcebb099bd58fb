//! What happened to events and reports, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use std::sync::Arc;

macro_rules! tally {
    ($($field:ident $help:literal,)*) => {
        /// Counters that only grow; each written by one thread.
        #[derive(Debug, Default)]
        #[allow(missing_docs, reason = "the names are those of the metrics, with their help")]
        pub struct Tally {
            $(pub $field: AtomicU64,)*
        }

        impl Tally {
            fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($field), $help, self.$field.load(Ordering::Relaxed)),)*].into_iter()
            }
        }
    };
}

tally! {
    journal_events "Events written to the journal",
    journal_bytes "Octets written to the journal",
    journal_events_lost_queue "Events lost because more happened than the queue holds",
    journal_events_lost_disk "Events lost because the disk did not take them",
    journal_files_removed "Journal files removed because all together were too large",
    status_datagrams "Status datagrams received",
    status_over_limit "Status datagrams dropped unread because their source, or all together, sent too many",
    status_malformed "Status datagrams that are none",
    status_unknown "Status reports of cards that are nobody's, or have no key",
    status_forged "Status reports whose tag is wrong",
    status_stale "Status reports whose counter is not above the last one: replayed, or of a clock that was set back",
    status_taken "Status reports that were taken",
    proxy_dhcp_datagrams "DHCP messages that ProxyDHCP has seen",
    proxy_dhcp_offers "Offers of a boot file to clients that asked everybody",
    proxy_dhcp_acknowledgements "Boot files named to clients that asked this server alone (port 4011)",
    proxy_dhcp_nothing_to_boot "PXE and HTTP-boot clients not answered because the catalog has no file for them",
    proxy_dhcp_not_ours "DHCP messages that are for the DHCP server, or came by a way that is not answered",
    proxy_dhcp_malformed "DHCP messages that are none, or contradict themselves",
    proxy_dhcp_over_limit "DHCP messages dropped unread because too many came at once",
    proxy_dhcp_send_errors "ProxyDHCP answers that could not be sent",
}

impl Tally {
    /// Adds to one of the counters.
    pub fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// The counters, as metrics.
#[derive(Debug)]
pub struct Shown(pub Arc<Tally>);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for (name, help, number) in self.0.all() {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(number).encode(family)?;
        }
        Ok(())
    }
}
