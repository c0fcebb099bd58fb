//! What licences allow, as tables; and licence files that are refused, each by its name.

mod support;

#[path = "licensing/both.rs"]
mod both;
#[path = "licensing/clock.rs"]
mod clock;
#[path = "licensing/files.rs"]
mod files;
#[path = "licensing/pair.rs"]
mod pair;
#[path = "licensing/rules.rs"]
mod rules;
#[path = "licensing/seats.rs"]
mod seats;
#[path = "licensing/sightings.rs"]
mod sightings;
#[path = "licensing/table.rs"]
mod table;
