//! From what stands in a scenario to what it means.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use daybreak_tftp::download::Profile;
use daybreak_tftp::limits::{BLKSIZE_DEFAULT, BLKSIZE_MAX, BLKSIZE_MIN};
use daybreak_tftp::wire::OptionKind;
use toml::Spanned;

use super::{BadScenario, Changes, Scenario, written};
use crate::args;
use crate::arrival::{Arrival, Order};
use crate::content::Content;
use crate::limits;
use crate::loss::Loss;
use crate::pattern::Pattern;
use crate::plan::{self, BootFile, ContentOf, Fleet, Plan, Server};

type Result<T> = std::result::Result<T, BadScenario>;

/// Seconds that a scenario may name: a day.
const SECONDS_MAX: f64 = 86_400.0;

pub(super) fn plan(scenario: &Scenario, changes: &Changes) -> Result<Plan> {
    let written = &scenario.written;
    let mut check = Check {
        scenario,
        contents: Vec::new(),
        known: HashMap::new(),
    };
    let servers = check.servers(changes)?;
    check.filled(&written.file_set, "file_set", "name = …, boot = [ … ]")?;
    check.filled(&written.fleet, "fleet", "name, clients, profile, files")?;
    check.names(written.file_set.iter().map(|set| &set.name))?;
    check.names(written.fleet.iter().map(|fleet| &fleet.name))?;
    let mut fleets = Vec::new();
    let mut clients = 0;
    for fleet in &written.fleet {
        let fleet = check.fleet(fleet, fleets.len(), clients, &servers)?;
        clients += fleet.clients;
        fleets.push(fleet);
    }
    let deadline = match &written.deadline_s {
        Some(deadline) => check.some_seconds(deadline)?,
        None => Duration::from_secs(600),
    };
    let threads = match (changes.threads, &written.threads) {
        (Some(threads), _) => threads,
        (None, Some(threads)) => check.within(threads, 1..=limits::THREADS_MAX, "")?,
        (None, None) => 1,
    };
    let places = match &written.concurrency {
        Some(concurrency) => check.within(concurrency, 1..=limits::CONCURRENCY_MAX, "")?,
        None => u32::MAX,
    };
    let mut plan = Plan {
        title: written.title.clone().unwrap_or_else(|| {
            let stem = scenario.path.file_stem().unwrap_or_default();
            stem.to_string_lossy().into_owned()
        }),
        servers,
        fleets,
        contents: check.contents,
        clients,
        part: changes.part,
        concurrency: 0,
        deadline,
        threads,
        seed: changes.seed.or(written.seed).unwrap_or(0),
        each: false,
    };
    plan.concurrency = plan.all_clients_here().min(places);
    if plan.concurrency > limits::CONCURRENCY_MAX {
        let what = format!(
            "{} clients at once need as many ports, and there are {}: share the scenario among processes (--share), or set concurrency",
            plan.concurrency,
            limits::CONCURRENCY_MAX
        );
        return Err(scenario.whole(what));
    }
    if plan.concurrency == 0 {
        return Err(scenario.whole(format!(
            "{clients} clients do not make {} shares: share it among fewer processes",
            changes.part.of
        )));
    }
    Ok(plan)
}

/// What a file must hold, as far as the scenario says: files that say the same share their content.
#[derive(PartialEq, Eq, Hash)]
struct Known {
    name: String,
    expect: Option<PathBuf>,
    blake3: Option<blake3::Hash>,
}

struct Check<'a> {
    scenario: &'a Scenario,
    contents: Vec<Content>,
    known: HashMap<Known, usize>,
}

impl Scenario {
    fn whole(&self, what: String) -> BadScenario {
        BadScenario {
            path: self.path.clone(),
            line: None,
            what,
        }
    }
}

impl Check<'_> {
    fn bad<T>(&self, at: &Range<usize>, what: impl Display) -> Result<T> {
        Err(self.scenario.bad(at, what))
    }

    fn filled<T>(&self, list: &[T], table: &str, fields: &str) -> Result<()> {
        if list.is_empty() {
            let what = format!("there is no [[{table}]]: add one, with {fields}");
            return Err(self.scenario.whole(what));
        }
        if list.len() > limits::FLEETS_MAX {
            let what = format!("at most {} tables [[{table}]]", limits::FLEETS_MAX);
            return Err(self.scenario.whole(what));
        }
        Ok(())
    }

    /// Refuses a name that stands twice.
    fn names<'a>(&self, names: impl Iterator<Item = &'a Spanned<String>>) -> Result<()> {
        let mut seen = std::collections::HashSet::new();
        for name in names {
            if name.get_ref().is_empty() || !seen.insert(name.get_ref()) {
                let what = format!("name {:?}: want another name for each", name.get_ref());
                return self.bad(&name.span(), what);
            }
        }
        Ok(())
    }

    fn within<T: PartialOrd + Copy + Display>(
        &self,
        value: &Spanned<T>,
        range: RangeInclusive<T>,
        unit: &str,
    ) -> Result<T> {
        if range.contains(value.get_ref()) {
            return Ok(*value.get_ref());
        }
        let (from, to) = (range.start(), range.end());
        let what = format!(
            "{} is out of range: want {from} to {to}{unit}",
            value.get_ref()
        );
        self.bad(&value.span(), what)
    }

    fn seconds(&self, value: &Spanned<f64>) -> Result<Duration> {
        let seconds = self.within(value, 0.0..=SECONDS_MAX, " seconds")?;
        Ok(Duration::from_secs_f64(seconds))
    }

    fn some_seconds(&self, value: &Spanned<f64>) -> Result<Duration> {
        let duration = self.seconds(value)?;
        if duration.is_zero() {
            return self.bad(&value.span(), "want more than 0 seconds");
        }
        Ok(duration)
    }

    fn servers(&self, changes: &Changes) -> Result<Vec<Server>> {
        let written = &self.scenario.written.server;
        self.filled(written, "server", "name and address = \"192.0.2.1:69\"")?;
        self.names(written.iter().map(|server| &server.name))?;
        for (name, _) in &changes.servers {
            if !written.iter().any(|server| server.name.get_ref() == name) {
                let what = format!(
                    "there is no [[server]] named {name:?}: --server changes those of the scenario"
                );
                return Err(self.scenario.whole(what));
            }
        }
        let server = |server: &written::Server| {
            let name = server.name.get_ref().clone();
            let changed = changes
                .servers
                .iter()
                .rfind(|(changed, _)| *changed == name);
            let address = match changed {
                Some((_, address)) => *address,
                None => match args::address(server.address.get_ref()) {
                    Ok(address) => address,
                    Err(what) => {
                        let text = server.address.get_ref();
                        return self
                            .bad(&server.address.span(), format!("address {text:?}: {what}"));
                    }
                },
            };
            Ok(Server { name, address })
        };
        written.iter().map(server).collect()
    }

    fn fleet(
        &mut self,
        fleet: &written::Fleet,
        index: usize,
        first: u32,
        servers: &[Server],
    ) -> Result<Fleet> {
        let left = limits::CLIENTS_MAX - first;
        let clients = self.within(&fleet.clients, 1..=left, ", over all fleets")?;
        let profile = self.profile(fleet)?;
        let order = self.order(fleet, servers)?;
        let rounds = match &fleet.rounds {
            Some(rounds) => self.within(rounds, 1..=u16::MAX, "")?,
            None if order.len() > 1 => 10,
            None => 1,
        };
        let loss_probability = match &fleet.loss {
            Some(loss) => self.within(loss, 0.0..=1.0, "")?,
            None => 0.0,
        };
        let arrival = match &fleet.arrival {
            Some(arrival) => self.arrival(arrival)?,
            None => Arrival::default(),
        };
        let sets = &self.scenario.written.file_set;
        let Some(set) = (sets.iter()).find(|set| set.name.get_ref() == fleet.files.get_ref())
        else {
            let known: Vec<&str> = sets.iter().map(|set| set.name.get_ref().as_str()).collect();
            let what = format!(
                "no [[file_set]] is named {:?}: want {}",
                fleet.files.get_ref(),
                known.join(", ")
            );
            return self.bad(&fleet.files.span(), what);
        };
        let boot = set.boot.get_ref();
        if boot.is_empty() || boot.len() > limits::LIST_MAX {
            let what = format!(
                "a boot is 1 to {} files, in order: {{ role = \"kernel\", name = \"…\" }}",
                limits::LIST_MAX
            );
            return self.bad(&set.boot.span(), what);
        }
        let files = (boot.iter())
            .map(|file| self.file(file, index, clients))
            .collect::<Result<_>>()?;
        Ok(Fleet {
            name: fleet.name.get_ref().clone(),
            first,
            clients,
            receive_buffer: plan::receive_buffer(&profile),
            profile: Arc::new(profile),
            files,
            servers: order,
            rounds,
            arrival,
            loss: Loss::new(loss_probability).expect("0 to 1"),
            loss_probability,
        })
    }

    fn profile(&self, fleet: &written::Fleet) -> Result<Profile> {
        let name = fleet.profile.get_ref();
        let mut profile = match plan::profile_named(name) {
            Ok(profile) => profile,
            Err(what) => {
                return self.bad(&fleet.profile.span(), format!("profile {name:?}: {what}"));
            }
        };
        if let Some(blksize) = &fleet.blksize {
            let blksize = self.within(blksize, BLKSIZE_MIN..=BLKSIZE_MAX, " octets")?;
            plan::ask(&mut profile, OptionKind::Blksize, blksize, BLKSIZE_DEFAULT);
        }
        if let Some(windowsize) = &fleet.windowsize {
            let windowsize = self.within(windowsize, 1..=u16::MAX, " blocks")?;
            plan::ask(&mut profile, OptionKind::Windowsize, windowsize, 1);
        }
        let wait = fleet.timeout_s.as_ref().map(|wait| self.some_seconds(wait));
        let tries = (fleet.tries.as_ref()).map(|tries| self.within(tries, 1..=u16::MAX, ""));
        if wait.is_some() || tries.is_some() {
            let wait = wait.transpose()?.unwrap_or(Duration::from_secs(1));
            plan::wait(&mut profile, wait, tries.transpose()?.unwrap_or(10));
        }
        Ok(profile)
    }

    fn order(&self, fleet: &written::Fleet, servers: &[Server]) -> Result<Vec<usize>> {
        let Some(order) = &fleet.servers else {
            return Ok((0..servers.len()).collect());
        };
        if order.get_ref().is_empty() || order.get_ref().len() > limits::LIST_MAX {
            return self.bad(
                &order.span(),
                "want the names of servers, the first to try first",
            );
        }
        let position = |name: &Spanned<String>| {
            let found = (servers.iter()).position(|server| server.name == *name.get_ref());
            let known: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
            found.ok_or_else(|| {
                let what = format!(
                    "no [[server]] is named {:?}: want {}",
                    name.get_ref(),
                    known.join(", ")
                );
                self.scenario.bad(&name.span(), what)
            })
        };
        order.get_ref().iter().map(position).collect()
    }

    fn arrival(&self, arrival: &Spanned<written::Arrival>) -> Result<Arrival> {
        let written::Arrival {
            start_s,
            ramp_s,
            rack_clients,
            every_s,
        } = arrival.get_ref();
        let order = match (ramp_s, rack_clients, every_s) {
            (None, None, None) => Order::AtOnce,
            (Some(ramp), None, None) => Order::Ramp(self.seconds(ramp)?),
            (None, Some(rack_clients), Some(every)) => Order::Waves {
                rack_clients: self.within(rack_clients, 1..=limits::CLIENTS_MAX, "")?,
                every: self.seconds(every)?,
            },
            _ => {
                return self.bad(
                    &arrival.span(),
                    "want ramp_s alone, or rack_clients and every_s together, or neither (all at once)",
                );
            }
        };
        let start = match start_s {
            Some(start) => self.seconds(start)?,
            None => Duration::ZERO,
        };
        Ok(Arrival { start, order })
    }

    fn file(&mut self, file: &written::File, fleet: usize, clients: u32) -> Result<BootFile> {
        let name = match Pattern::parse(file.name.get_ref()) {
            Ok(name) => name,
            Err(error) => return self.bad(&file.name.span(), error),
        };
        let blake3 = match &file.blake3 {
            None => None,
            Some(text) => match blake3::Hash::from_hex(text.get_ref()) {
                Ok(hash) => Some(hash),
                Err(_) => {
                    return self.bad(
                        &text.span(),
                        "blake3: want 64 hexadecimal digits, as b3sum prints",
                    );
                }
            },
        };
        if let (Some(_), Some(expect)) = (&file.blake3, &file.expect) {
            return self.bad(&expect.span(), "want expect or blake3, not both");
        }
        let content = self.content(file, &name, blake3, fleet, clients)?;
        Ok(BootFile {
            role: file.role,
            name,
            content,
            blake3,
            optional: file.optional,
        })
    }

    fn content(
        &mut self,
        file: &written::File,
        name: &Pattern,
        blake3: Option<blake3::Hash>,
        fleet: usize,
        clients: u32,
    ) -> Result<ContentOf> {
        let folder = self
            .scenario
            .path
            .parent()
            .unwrap_or(self.scenario.path.as_path());
        let read = |path: PathBuf, at: Range<usize>| {
            plan::expected(&path).map_err(|error| {
                let what = format!(
                    "expect {}: {error}: paths are meant from the scenario's folder",
                    path.display()
                );
                self.scenario.bad(&at, what)
            })
        };
        let each = match &file.expect {
            None => None,
            Some(expect) => {
                let path = expect.get_ref().to_string_lossy();
                match Pattern::parse(&path) {
                    Ok(path) => path.differs().then(|| (path, expect.span())),
                    Err(error) => return self.bad(&expect.span(), error),
                }
            }
        };
        if let Some((path, at)) = each {
            if !name.differs() {
                return self.bad(&at, "the name is the same for all, so expect must be too");
            }
            let first = self.contents.len();
            for position in 0..clients {
                let content = read(folder.join(path.text(fleet, position)), at.clone())?;
                self.contents.push(content);
            }
            return Ok(ContentOf::Each(first));
        }
        let known = Known {
            name: file.name.get_ref().clone(),
            expect: file.expect.as_ref().map(|expect| expect.get_ref().clone()),
            blake3,
        };
        if let Some(content) = self.known.get(&known) {
            return Ok(ContentOf::Shared(*content));
        }
        let content = match &file.expect {
            Some(expect) => read(folder.join(expect.get_ref()), expect.span())?,
            None if name.differs() && blake3.is_none() => Content::Own(0),
            None => Content::unknown(),
        };
        self.contents.push(content);
        self.known.insert(known, self.contents.len() - 1);
        Ok(ContentOf::Shared(self.contents.len() - 1))
    }
}
