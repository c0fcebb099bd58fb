//! What the engine gives up once everything privileged is done: before its first thread, and before it reads a
//! single octet that others wrote.
//!
//! Four walls, each by itself, so that an older kernel has the others: no capabilities and no new ones; of all files
//! only the data directory, to read, and its events, to write; no new sockets for TCP; and no system call
//! that serving does not need ([`crate::syscalls`]). Threads inherit all of it.
//!
//! A wall that cannot be had is said, and the engine serves all the same: boots matter more.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::syscalls;

/// The folder of the data directory that the engine writes to.
const EVENTS: &str = "events";

/// What of Landlock is asked for; an older kernel enforces the part that it knows.
const LANDLOCK: ABI = ABI::V6;

/// Confines this thread and all that it will start.
pub fn confine(data: &Path) {
    let no_new_privileges = set_no_new_privs(true).map_err(|error| error.to_string());
    let capabilities = drop_capabilities().map_err(|error| error.to_string());
    let files = restrict_files(data);
    let system_calls = syscalls::restrict().map_err(|error| error.to_string());
    let mut missing = [
        ("no_new_privs", no_new_privileges),
        ("capabilities", capabilities),
        ("landlock", files),
        ("seccomp", system_calls),
    ]
    .into_iter()
    .filter_map(|(wall, built)| Some((wall, built.err()?)))
    .peekable();
    if missing.peek().is_none() {
        tracing::info!(
            "confined: no capabilities, no file outside of the data directory, no needless system call"
        );
    }
    for (wall, why) in missing {
        tracing::warn!(
            wall,
            why,
            "one wall of the sandbox cannot be had here; the others stand"
        );
    }
}

fn drop_capabilities() -> rustix::io::Result<()> {
    // Needs CAP_SETPCAP. Without it there is nothing in the set that no_new_privs does not keep out already.
    for capability in CapabilitySet::all().iter() {
        let _ = remove_capability_from_bounding_set(capability);
    }
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
}

fn restrict_files(data: &Path) -> Result<(), String> {
    // Without a data directory there is nothing to serve, and the start ends with a word about that.
    let Ok(root) = PathFd::new(data) else {
        return Ok(());
    };
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write: BitFlags<AccessFs> = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::Refer;
    let restrict = || -> Result<RulesetStatus, RulesetError> {
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?
            .create()?
            .add_rule(PathBeneath::new(root, read))?;
        if let Ok(events) = PathFd::new(data.join(EVENTS)) {
            rules = rules.add_rule(PathBeneath::new(events, write))?;
        }
        Ok(rules.restrict_self()?.ruleset)
    };
    match restrict() {
        Ok(RulesetStatus::FullyEnforced) => Ok(()),
        Ok(RulesetStatus::PartiallyEnforced) => {
            tracing::info!("this kernel knows a part of Landlock only: that part is in force");
            Ok(())
        }
        Ok(RulesetStatus::NotEnforced) => Err(
            "this kernel has no Landlock (Linux 5.13, and `landlock` in the list of the boot option lsm=): \
             the engine may read what its user may"
                .into(),
        ),
        Err(error) => Err(error.to_string()),
    }
}
