//! `daybreak-licence`: the licence authority of a vendor. See the module `authority` of the library.

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use daybreak_admin::authority::{Account, Authority, AuthorityError, Issuer, Listed, Master, day};
use daybreak_admin::command::{SiteArgs, serve_site};
use daybreak_admin::edge::Machine;
use daybreak_admin::kind::LoginName;
use daybreak_admin::licensing::{InstallationId, Product, Redundancy};
use daybreak_admin::object::Id;
use daybreak_admin::security::Secret;

/// Licences for Daybreak boot servers: makes signing keys, master licences and activations, and keeps a ledger of them. Works
/// offline.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The folder of the authority: keys and ledger. Keep it safe, and keep a copy.
    #[arg(long, value_name = "DIR", default_value = "authority")]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a signing key, which signs from now on. Prints the file that customers put into keys/vendors.
    NewKey,
    /// Create a master licence. Prints its identifier.
    Master {
        /// Whose it is.
        #[arg(long)]
        customer: String,
        /// none, mirrored, full or enterprise.
        #[arg(long, value_parser = redundancy)]
        redundancy: Redundancy,
        /// For how many days it holds; without it, for ever.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        valid_days: Option<u32>,
    },
    /// Add a product licence to a master licence, for its next activation.
    Product {
        /// The master licence.
        #[arg(long, value_name = "ID", value_parser = id)]
        master: Id,
        /// terminal-connection, redundant-terminal-connection, mirrored-terminal-connection, instant-failover, windows-client or
        /// shared-keyboard-mouse.
        #[arg(long, value_parser = product)]
        product: Product,
        /// How many.
        #[arg(long)]
        count: u32,
    },
    /// Activate a master licence for one or two servers, for the first time or again. Asks for their Installation IDs.
    Activate {
        /// The master licence.
        #[arg(long, value_name = "ID", value_parser = id)]
        master: Id,
        /// The Installation ID of a server; twice for two. Otherwise they are asked for.
        #[arg(long, value_name = "ID")]
        installation: Vec<String>,
        /// Where the licence file is written; otherwise to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List the master licences, and what was issued of them: when, for which servers, and by whom.
    List,
    /// Serve the activation site: the same as web pages, for the vendor's staff, and for customers, who see their own licences.
    ///
    /// Nobody can log in before they have an account: `daybreak-licence account add`.
    Serve(SiteArgs),
    /// Make, list and remove accounts of the activation site.
    Account {
        #[command(subcommand)]
        command: AccountCommand,
    },
}

/// What is done with accounts.
#[derive(Debug, Subcommand)]
enum AccountCommand {
    /// Add an account. Prints a link with which its password is chosen: once, within 7 days.
    Add {
        /// The name to log in with.
        name: String,
        /// The customer whose licences it sees and activates.
        #[arg(long, required_unless_present = "staff", conflicts_with = "staff")]
        customer: Option<String>,
        /// The vendor's staff: it sees every licence, and makes new ones.
        #[arg(long)]
        staff: bool,
        #[command(flatten)]
        link: LinkArgs,
    },
    /// Print another link for an account. Its password holds no more.
    Link {
        /// The name to log in with.
        name: String,
        #[command(flatten)]
        link: LinkArgs,
    },
    /// List the accounts.
    List,
    /// Remove an account. Whoever is logged in with it is not any more.
    Remove {
        /// The name to log in with.
        name: String,
    },
}

/// What a link begins with.
#[derive(Debug, clap::Args)]
struct LinkArgs {
    /// The address of the activation site, as the account's owner reaches it.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8071")]
    site: String,
}

fn redundancy(word: &str) -> Result<Redundancy, &'static str> {
    Redundancy::of_word(word).ok_or("none, mirrored, full or enterprise")
}

fn product(word: &str) -> Result<Product, String> {
    let words = || Product::ALL.map(Product::word).join(", ");
    Product::of_word(word).ok_or_else(words)
}

fn id(text: &str) -> Result<Id, String> {
    Id::parse(text).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if let Command::Serve(site) = &args.command {
        return serve_site(&args.dir, site);
    }
    let authority = Authority::open(&args.dir, Arc::new(Machine), Arc::new(Machine))?;
    let mut out = io::stdout().lock();
    match &args.command {
        Command::NewKey => {
            authority.new_key()?;
            writeln!(out, "{}", authority.public_key()?.display())?;
        }
        Command::Master {
            customer,
            redundancy,
            valid_days,
        } => {
            let master = authority.create(customer, *redundancy, *valid_days)?;
            writeln!(out, "{}", master.id)?;
        }
        Command::Product {
            master,
            product,
            count,
        } => {
            let master = authority.add_product(master, *product, *count)?;
            writeln!(out, "{}", said(&master))?;
        }
        Command::Activate {
            master,
            installation,
            out: file,
        } => {
            let master = authority.master(master)?;
            let installations = if installation.is_empty() {
                asked(&master)?
            } else {
                let parsed = installation.iter().map(|text| InstallationId::parse(text));
                parsed.collect::<Result<Vec<_>, _>>()?
            };
            let activation =
                authority.activate(&master.id, &installations, &Issuer::CommandLine)?;
            match file {
                None => out.write_all(activation.text.as_bytes())?,
                Some(file) => {
                    fs::write(file, &activation.text)
                        .with_context(|| format!("cannot write {}", file.display()))?;
                    let number = activation.number;
                    writeln!(
                        out,
                        "activation {number} of {} in {}",
                        master.id,
                        file.display()
                    )?;
                }
            }
        }
        Command::List => {
            for master in authority.masters(Listed::default())? {
                writeln!(out, "{}", said(&master))?;
                for activation in authority.activations(&master.id)? {
                    let named = activation.installations.iter().map(ToString::to_string);
                    let named: Vec<String> = named.collect();
                    let (number, on) = (activation.number, day(activation.issued_ms));
                    let by = match &activation.issuer {
                        Issuer::CommandLine => String::new(),
                        Issuer::Staff(name) => format!(" by {}, staff", name.as_str()),
                        Issuer::Customer(name) => format!(" by {}", name.as_str()),
                    };
                    let named = named.join(" and ");
                    writeln!(out, "  activation {number}: {named} on {on}{by}")?;
                }
            }
        }
        Command::Account { command } => account(&authority, command, &mut out)?,
        Command::Serve(_) => {}
    }
    Ok(())
}

fn account(authority: &Authority, command: &AccountCommand, out: &mut impl Write) -> Result<()> {
    match command {
        AccountCommand::Add {
            name,
            customer,
            staff: _,
            link,
        } => {
            let (account, secret) = authority.add_account(name, customer.as_deref())?;
            if let Some(customer) = &account.customer {
                let of_it = Listed {
                    customer: Some(customer),
                    most: Some(1),
                    ..Listed::default()
                };
                if authority.masters(of_it)?.is_empty() {
                    writeln!(
                        io::stderr(),
                        "note: there is no licence of {customer} yet; the names must be the same"
                    )?;
                }
            }
            writeln!(out, "{}", link.of(&secret))?;
        }
        AccountCommand::Link { name, link } => {
            let account = named(authority, name)?;
            let (_, secret) = authority.invite_again(&account.id)?;
            writeln!(out, "{}", link.of(&secret))?;
        }
        AccountCommand::List => {
            for account in authority.accounts()? {
                let customer = account.customer.as_deref().unwrap_or("(staff)");
                let state = account.state();
                writeln!(out, "{}  {customer}  {state}", account.name.as_str())?;
            }
        }
        AccountCommand::Remove { name } => {
            let account = named(authority, name)?;
            authority.remove_account(&account.id)?;
        }
    }
    Ok(())
}

fn named(authority: &Authority, name: &str) -> Result<Account> {
    let found = authority.account_named(&LoginName::parse(name)?)?;
    let (account, _) = found.ok_or(AuthorityError::NoAccount)?;
    Ok(account)
}

impl LinkArgs {
    fn of(&self, secret: &Secret) -> String {
        let site = self.site.trim_end_matches('/');
        format!("{site}/welcome?code={}", secret.reveal())
    }
}

/// A master licence in one line.
fn said(master: &Master) -> String {
    let products = master.products.iter();
    let products = products.map(|one| format!("{} {}", one.count, one.product.word()));
    let products: Vec<String> = products.collect();
    let (id, customer) = (&master.id, &master.customer);
    format!(
        "{id}  {customer}  {}  {}",
        master.redundancy.word(),
        products.join(", ")
    )
}

/// Asks for the Installation IDs that the licence needs, until each is one.
fn asked(master: &Master) -> Result<Vec<InstallationId>> {
    let servers = master.servers();
    let mut lines = io::stdin().lock().lines();
    let mut installations = Vec::new();
    for number in 1..=*servers.end() {
        let optional = number > *servers.start();
        let which = match (number, optional) {
            (1, _) => "Installation ID: ",
            (_, false) => "Installation ID of the second server: ",
            (_, true) => "Installation ID of the second server (empty: one server): ",
        };
        loop {
            write!(io::stderr(), "{which}")?;
            let Some(line) = lines.next().transpose()? else {
                bail!("an Installation ID is missing");
            };
            if line.trim().is_empty() && optional {
                break;
            }
            match InstallationId::parse(line.trim()) {
                Ok(id) => {
                    installations.push(id);
                    break;
                }
                Err(error) => writeln!(io::stderr(), "{error}")?,
            }
        }
    }
    Ok(installations)
}
