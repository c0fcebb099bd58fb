//! The HTTP API, and the pages of the activation site. A handler reads a request, calls the domain, and renders what it says: no SQL
//! here, no HTTP there.

mod accounts;
pub mod activation;
mod application;
mod arriving;
mod backups;
mod bulk;
mod conflicts;
mod cookie;
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
mod listening;
mod listing;
mod manual;
mod objects;
mod outer;
mod page;
mod request;
mod state;
mod stream;
mod sync;
mod sync_counters;
mod table;
mod tls;
mod units;
mod unread;
mod uploads;
mod views;

pub use application::{Application, Settings, StartError};
pub use bulk::{ReportView, RowView};
pub use document::document;
pub use error::{Code, ErrorBody};
pub use guard::Access;
pub use licences::{licences_json, licensing_json};
pub use listening::{ListenError, Listening, Transport};
pub use table::{Route, routes};
