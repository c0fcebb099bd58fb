//! The HTTP API. A handler reads a request, calls the domain, and renders what it says: no SQL here, no HTTP there.

mod accounts;
mod application;
mod arriving;
mod bulk;
mod counters;
mod dhcp;
mod docs;
mod document;
mod engine;
mod error;
mod events;
mod files;
mod guard;
mod hosts;
mod json;
mod licences;
mod listing;
mod objects;
mod outer;
mod page;
mod request;
mod state;
mod sync;
mod sync_counters;
mod table;
mod tls;
mod units;
mod uploads;
mod views;

pub use application::{Application, Settings, StartError, Transport};
pub use bulk::{ReportView, RowView};
pub use document::document;
pub use error::{Code, ErrorBody};
pub use guard::Access;
pub use licences::{licences_json, licensing_json};
pub use table::{Route, routes};
