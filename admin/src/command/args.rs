//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use super::licence::{LicenceArgs, ReachArgs};
use super::serve::ServeArgs;
use super::terminals::TerminalsArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed; what was published before is still published
  2    the command line is wrong
  3    verify, restore: something is missing or damaged
  4    another command is changing the store; try again
  5    the disk is full, or would be
  130  interrupted; what was published before is still published

Every command works while the engine serves; a change is served as soon as the command returns.";

/// Administration of a Daybreak boot server.
#[derive(Clone, Debug, Parser)]
#[command(name = "daybreak-admin", version, about, after_help = EXIT_CODES)]
pub struct Args {
    /// The data directory; made by the first command that changes it.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// How long to wait for another command that changes the store: a number with s, m, h or d.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub wait: Duration,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Bring a file, or all files of a folder, and publish them.
    ///
    /// The files of a folder are named by their paths in it. The same content is stored once. Symbolic links are
    /// left out, with a warning. A folder is one change: all of it is published, or nothing.
    Import {
        /// A file or a folder.
        path: PathBuf,
        /// The name that clients ask for, for one file (default: its own name).
        #[arg(long)]
        name: Option<String>,
        /// A folder to put before every name: FOLDER/name.
        #[arg(long, value_name = "FOLDER")]
        prefix: Option<String>,
        /// Disk space to leave free, in octets (default: 64 MiB, or one hundredth of the disk if that is less).
        #[arg(long, value_name = "OCTETS")]
        reserve: Option<u64>,
    },
    /// Show what is published.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Publish without these names. All of them, or nothing.
    Remove {
        /// Names; one that ends in `/` means everything in that folder.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Read every image and catalog, and report what is missing or damaged.
    Verify {
        /// Put damaged images aside, so that an import (or the other server) can bring them again.
        #[arg(long)]
        quarantine: bool,
    },
    /// Remove images and catalogs that nothing names any more, except what a running boot still reads.
    Gc {
        /// How long they stay after they were replaced: a number with s, m, h or d.
        #[arg(long, default_value = "24h", value_parser = parse_duration)]
        retention: Duration,
    },
    /// Make a backup of everything that is configured, in DIR/backups. Works beside a running `serve`.
    Backup {
        /// Also the images: everything that terminals boot.
        #[arg(long)]
        images: bool,
        /// Also copy it to this file, which must not exist.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show what restoring a backup would change, and with --yes do it. While `serve` runs, restore over its API.
    ///
    /// A backup of what is there now is made before. Settings of this server alone and licences stay as they are.
    Restore {
        /// A backup in DIR/backups, or a file.
        #[arg(value_name = "BACKUP")]
        backup: PathBuf,
        /// Restore.
        #[arg(long)]
        yes: bool,
        /// Also users, roles and API keys. Otherwise they stay as they are.
        #[arg(long)]
        accounts: bool,
        /// Leave files as they are now whose images are neither in the backup nor in the store.
        #[arg(long)]
        without_missing_images: bool,
    },
    /// Serve the administration over HTTP, and publish what is configured, until a signal ends it.
    ///
    /// The first start prints a link with which the first administrator is made. There is no default password.
    Serve(ServeArgs),
    /// Print this server's Installation ID, which a licence is activated for.
    InstallationId(ReachArgs),
    /// Install, list and remove licences, and show what they allow.
    Licence(LicenceArgs),
    /// Write all terminals to a file, or create and change them as a file says.
    Terminals(TerminalsArgs),
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let (digits, seconds) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        Some(b'd') => (&text[..text.len() - 1], 86_400),
        _ => (text, 0),
    };
    let wrong = || "expected a number with s, m, h or d, as in 24h".to_owned();
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    // A bare number is ambiguous, except for none at all.
    if seconds == 0 && number != 0 {
        return Err(wrong());
    }
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!(parse_duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("90m"), Ok(Duration::from_secs(5400)));
        for wrong in [
            "",
            "24",
            "h",
            "-1h",
            "1.5h",
            "24 h",
            "1ü",
            "99999999999999999999d",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert!(parse_duration(&format!("{}d", u64::MAX)).is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
