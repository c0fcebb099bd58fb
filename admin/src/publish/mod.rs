//! Publishing: from what is configured to what terminals receive.
//!
//! [`Compiler`] renders the files of every terminal from one state of the site, and remembers what it rendered.
//! [`Publisher`] runs beside the changes: it takes the newest state, compiles it, and makes it the store's next
//! generation. Several changes in a row become one generation. Whatever is wrong with the configuration is listed as a
//! problem, and never stops the rest.

mod active;
mod compile;
mod counted;
mod files;
mod loaders;
mod publisher;
mod template;
mod terminal_file;
mod unknown;

pub use active::{ActiveVersion, Hindered, linked_names};
pub use compile::{Cards, Compiled, Compiler, Files};
pub use files::AgreeError;
pub use publisher::{Last, Publication, Publisher, publish, publish_whole};
pub use template::{Script, ScriptTemplate};
pub(crate) use terminal_file::boot_servers;
