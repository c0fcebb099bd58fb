//! `daybreak-loadtest client`: one thin client to be tried by hand, with its IP configuration menu.
//!
//! It asks its servers in turn until one answers, prints what it received, and then runs from memory: also when both
//! servers are dead.

pub mod boot;
pub mod console;
pub mod menu;
pub mod saved;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;

use crate::args::address;
use crate::limits::{LIST_MAX, SHOWN_BYTES_MAX};
use crate::plan;
use boot::{Booted, Booting, Kept, News};
use console::{Console, Waited};
use menu::{Addresses, Key, Menu, Step};

/// Boots one client, which keeps what was set in its menu, and runs on from memory.
///
/// Press the space bar while it starts for the IP configuration menu; `q` switches it off.
#[derive(Debug, Parser)]
pub struct ClientArgs {
    /// The files of the boot, in order
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', required = true)]
    file: Vec<String>,
    /// Where it keeps what is set in its menu
    #[arg(long, value_name = "FILE", default_value = "daybreak-client.toml")]
    settings: PathBuf,
    /// The servers that DHCP names, in the order in which they are tried; not used with an address of its own
    #[arg(long, value_name = "ADDR:PORT,…", value_delimiter = ',')]
    server: Vec<String>,
    /// The same as the text of DHCP option 66: one or two addresses with a blank between
    #[arg(long, value_name = "TEXT", conflicts_with = "server")]
    option_66: Option<String>,
    /// Port of the servers that are named by address alone
    #[arg(long, value_name = "PORT", default_value_t = 69)]
    port: u16,
    /// Seconds in which the space bar leads to the menu
    #[arg(long, value_name = "N", default_value_t = 3.0)]
    menu_seconds: f64,
    /// The client to play, as for a load test
    #[arg(long, default_value = "plain")]
    profile: String,
    /// Seconds that it waits for an answer
    #[arg(long, default_value_t = 1.0)]
    timeout: f64,
    /// Tries before it asks the next server
    #[arg(long, default_value_t = 3)]
    tries: u16,
    /// Times through the list of servers before it gives up [default: it never does]
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds between two looks at the servers while it runs
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    watch_seconds: f64,
}

/// Runs the client; the exit status.
///
/// # Errors
/// What cannot be done at all.
pub fn run(args: &ClientArgs) -> Result<u8> {
    let seconds = |option: &str, value: f64| {
        Duration::try_from_secs_f64(value)
            .map_err(|_| anyhow!("{option} must be a number of seconds"))
    };
    ensure!(args.file.len() <= LIST_MAX, "at most {LIST_MAX} files");
    ensure!(args.tries > 0, "--tries must be at least 1");
    ensure!(args.rounds != Some(0), "--rounds must be at least 1");
    let menu_time = seconds("--menu-seconds", args.menu_seconds)?;
    let watch = seconds("--watch-seconds", args.watch_seconds)?.max(Duration::from_millis(100));
    let mut profile = plan::profile_named(&args.profile)
        .map_err(|what| anyhow!("--profile {}: {what}", args.profile))?;
    let timeout = seconds("--timeout", args.timeout)?.max(Duration::from_millis(1));
    plan::wait(&mut profile, timeout, args.tries);
    let addresses = saved::read(&args.settings)?;

    let console = Console::open()?;
    let Some(addresses) = start(&console, addresses, menu_time, args)? else {
        return Ok(0);
    };
    let booting = Booting {
        profile: Arc::new(profile),
        servers: servers(args, &addresses)?,
        from: addresses.are_static().then_some(addresses.terminal),
        rounds: args.rounds,
    };
    let say = &mut |news: News<'_>| console.show(&told(&news));
    let stop = &|| console.is_switched_off();
    match booting.run(&args.file, say, stop) {
        Ok(booted) => {
            console.show(&summary(&booted));
            live(&console, &booting, &booted, watch);
            Ok(0)
        }
        Err(error) => {
            console.show(&format!("Boot failed: {error:#}\n"));
            Ok(1)
        }
    }
}

/// The start, with the menu for who wants it; none: switched off.
fn start(
    console: &Console,
    addresses: Addresses,
    menu_time: Duration,
    args: &ClientArgs,
) -> Result<Option<Addresses>> {
    let seconds = menu_time.as_secs_f64();
    console.show(&format!(
        "Daybreak client. Press the space bar within {seconds} s for the IP configuration menu.\n"
    ));
    let until = Instant::now() + menu_time;
    loop {
        match console.key_until(until) {
            Waited::Key(Key::Letter(' ')) => break,
            Waited::Key(Key::Break | Key::Letter('q')) => return Ok(None),
            Waited::Key(Key::Enter) | Waited::Nothing | Waited::Nobody => {
                return Ok(Some(addresses));
            }
            Waited::Key(_) => {}
        }
    }
    let mut menu = Menu::new(addresses);
    console.show(&menu.to_string());
    while let Some(key) = console.key() {
        if key == Key::Break {
            return Ok(None);
        }
        match menu.press(key) {
            Step::Show(text) => console.show(&text),
            Step::Save(addresses) => {
                saved::write(&args.settings, &addresses)?;
                console.show(&format!("Saved to {}.\n", args.settings.display()));
                return Ok(Some(addresses));
            }
        }
    }
    // Nobody is there to save it: as it was.
    Ok(Some(addresses))
}

/// Those of the menu, or else those that DHCP names.
fn servers(args: &ClientArgs, addresses: &Addresses) -> Result<Vec<SocketAddr>> {
    let set: Vec<SocketAddr> = addresses
        .servers()
        .map(|address| (address, args.port).into())
        .collect();
    if addresses.are_static() {
        ensure!(
            !set.is_empty(),
            "no boot server is set: press the space bar at the start, and set (B) or (C)"
        );
        return Ok(set);
    }
    let named = match &args.option_66 {
        Some(text) => option_66(text, args.port)?,
        None => args
            .server
            .iter()
            .map(|text| address(text).map_err(|what| anyhow!("--server {text}: {what}")))
            .collect::<Result<Vec<_>>>()?,
    };
    ensure!(
        !named.is_empty(),
        "no boot server is known: give --server or --option-66, as DHCP would name them, or press the space bar at the start"
    );
    ensure!(named.len() <= LIST_MAX, "at most {LIST_MAX} servers");
    Ok(named)
}

/// The servers in the text of DHCP option 66 (RFC 2132 §9.4): one or several addresses or names with blanks between, whatever
/// NULs and blanks are at the end.
///
/// # Errors
/// A text that names none, or a name that leads nowhere.
fn option_66(text: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let words = text.trim_end_matches('\0').split_ascii_whitespace();
    let servers = words.map(|word| {
        let found = match word.parse::<Ipv4Addr>() {
            Ok(address) => Ok((address, port).into()),
            Err(_) => address(&format!("{word}:{port}")),
        };
        found.map_err(|what| anyhow!("option 66, {word:?}: {what}"))
    });
    let servers = servers.collect::<Result<Vec<_>>>()?;
    Some(servers)
        .filter(|servers| !servers.is_empty())
        .context("option 66 names no server")
}

/// A line or more, for people.
fn told(news: &News<'_>) -> String {
    match news {
        News::Silent(server, waited) => format!(
            "{server} does not answer ({:.1} s): asking the next one\n",
            waited.as_secs_f64()
        ),
        News::Arrived(Kept {
            name,
            octets,
            blake3,
            server,
            took,
        }) => {
            let mut text = format!(
                "{name}: {} octets from {server} in {:.0} ms, blake3 {}…\n",
                octets.len(),
                took.as_secs_f64() * 1000.0,
                &blake3.to_hex()[..16]
            );
            let shown = std::str::from_utf8(octets).ok();
            for line in shown
                .filter(|shown| shown.len() <= SHOWN_BYTES_MAX)
                .into_iter()
                .flat_map(str::lines)
            {
                let plain = line.chars().filter(|letter| !letter.is_control());
                let _ = writeln!(text, "  | {}", plain.collect::<String>());
            }
            text
        }
    }
}

fn summary(booted: &Booted) -> String {
    let octets: usize = booted.files.iter().map(|file| file.octets.len()).sum();
    let mut servers: Vec<String> = Vec::new();
    for file in &booted.files {
        let server = file.server.to_string();
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    let mut text = format!(
        "Booted: {} file(s), {octets} octets, served by {}",
        booted.files.len(),
        servers.join(" and ")
    );
    if booted.moves > 0 {
        let _ = write!(
            text,
            "; moved {} time(s), which cost {:.1} s",
            booted.moves,
            booted.waited.as_secs_f64()
        );
    }
    text + ".\nRunning from memory. q switches it off.\n"
}

/// Runs until it is switched off; says what becomes of the servers.
fn live(console: &Console, booting: &Booting, booted: &Booted, watch: Duration) {
    let since = Instant::now();
    let name = &booted.files[0].name;
    let mut alive = vec![true; booting.servers.len()];
    loop {
        let next = Instant::now() + watch;
        while Instant::now() < next {
            match console.key_until(next) {
                Waited::Key(Key::Break | Key::Letter('q' | 'Q')) => {
                    console.show("Switched off.\n");
                    return;
                }
                Waited::Key(_) | Waited::Nothing => {}
                // Nobody presses keys: it runs until a signal.
                Waited::Nobody => std::thread::park_timeout(next - Instant::now()),
            }
        }
        let mut changed = false;
        for (server, was) in booting.servers.iter().zip(&mut alive) {
            let answers = booting.answers(*server, name);
            if answers != *was {
                let what = if answers {
                    "answers again"
                } else {
                    "is silent"
                };
                console.show(&format!("{server} {what}.\n"));
                changed = true;
            }
            *was = answers;
        }
        if changed && !alive.contains(&true) {
            let intact =
                (booted.files.iter()).all(|file| blake3::hash(&file.octets) == file.blake3);
            console.show(&format!(
                "No server answers: running from memory for {:.0} s, {} file(s) {}.\n",
                since.elapsed().as_secs_f64(),
                booted.files.len(),
                if intact { "intact" } else { "damaged" }
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c74_option_66_is_one_or_two_addresses_or_names_with_whatever_at_the_end() {
        let parsed = |text: &str| {
            let servers = option_66(text, 69).map_err(|error| error.to_string())?;
            Ok(servers.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let two = Ok::<_, String>(vec!["192.0.2.1:69".to_owned(), "192.0.2.2:69".to_owned()]);
        for text in [
            "192.0.2.1 192.0.2.2",
            "192.0.2.1 192.0.2.2 ",
            "192.0.2.1  192.0.2.2\0",
            " 192.0.2.1 192.0.2.2 \0\0",
        ] {
            assert_eq!(parsed(text), two, "{text:?}");
        }
        assert_eq!(parsed("192.0.2.1"), Ok(vec!["192.0.2.1:69".into()]));
        let local = parsed("localhost\0").expect("a name of every machine");
        assert!(local[0].ends_with(":69"), "{local:?}");
        for bad in ["", " ", "\0", "192.0.2.1 no.such.host.invalid"] {
            assert!(parsed(bad).is_err(), "{bad:?}");
        }
    }
}
