//! What a storm found: the report of a scenario, for people and for programs.
//!
//! - [`report`]: the report itself, as JSON by the field names there (`docs/schema/storm-report.schema.json`).
//! - [`merge`]: the reports of several processes that shared a scenario, as one.
//! - [`text`] and [`html`]: the same for people.
//! - [`command`]: what is typed.

mod chart;
pub mod command;
pub mod html;
pub mod merge;
pub mod report;
pub mod text;
