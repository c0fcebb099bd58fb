//! What licences allow, as tables; and licence files that are refused, each by its name.

mod support;

#[path = "licensing/files.rs"]
mod files;
#[path = "licensing/seats.rs"]
mod seats;
#[path = "licensing/table.rs"]
mod table;
