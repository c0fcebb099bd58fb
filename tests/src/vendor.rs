//! A vendor with an authority made on the spot: the real `daybreak-licence`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::administration::Api;
use crate::programs;
use crate::site::Site;

/// An authority with a signing key of its own.
#[derive(Debug)]
pub struct Vendor {
    dir: TempDir,
    key: PathBuf,
}

impl Default for Vendor {
    fn default() -> Self {
        Vendor::new()
    }
}

impl Vendor {
    /// A new one.
    ///
    /// # Panics
    /// If the program fails.
    #[must_use]
    pub fn new() -> Vendor {
        let dir = tempfile::tempdir().expect("a folder");
        let mut vendor = Vendor {
            dir,
            key: PathBuf::new(),
        };
        vendor.key = vendor.run(&["new-key"]).trim().into();
        vendor
    }

    /// The file of its key, which customers get.
    #[must_use]
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// Has the site believe this vendor.
    ///
    /// # Panics
    /// If the key cannot be put there.
    pub fn is_trusted_by(&self, site: &Site) {
        let vendors = site.data().join("keys/vendors");
        std::fs::create_dir_all(&vendors).expect("own folder");
        let name = self.key.file_name().expect("a file");
        std::fs::copy(&self.key, vendors.join(name)).expect("own folder");
    }

    /// A new master licence.
    #[must_use]
    pub fn master(&self, redundancy: &str, products: &[(&str, u32)]) -> String {
        self.master_with(redundancy, products, &[])
    }

    /// A new master licence that ends after so many days.
    #[must_use]
    pub fn ending(&self, redundancy: &str, products: &[(&str, u32)], days: u32) -> String {
        let days = days.to_string();
        self.master_with(redundancy, products, &["--valid-days", &days])
    }

    fn master_with(&self, redundancy: &str, products: &[(&str, u32)], more: &[&str]) -> String {
        let create = ["master", "--customer", "Plant", "--redundancy", redundancy];
        let master = self.run(&[&create[..], more].concat()).trim().to_owned();
        for (product, count) in products {
            self.add(&master, product, *count);
        }
        master
    }

    /// More of a product in a master licence: counts with the next activation.
    pub fn add(&self, master: &str, product: &str, count: u32) {
        let count = count.to_string();
        let what = ["--master", master, "--product", product, "--count", &count];
        let _ = self.run(&[&["product"], &what[..]].concat());
    }

    /// The file of an activation for these servers.
    #[must_use]
    pub fn activate(&self, master: &str, installations: &[&str]) -> String {
        let mut args = vec!["activate", "--master", master];
        for installation in installations {
            args.extend(["--installation", installation]);
        }
        self.run(&args)
    }

    /// The same, where the command asks and somebody types these lines; with what it asked.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn activate_typed(&self, master: &str, lines: &[&str]) -> (String, String) {
        let mut command = self.command(&["activate", "--master", master]);
        let command = command.stdin(Stdio::piped());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the program is built");
        let mut keyboard = process.stdin.take().expect("piped");
        let typed = lines.iter().map(|line| format!("{line}\n"));
        let typed: String = typed.collect();
        keyboard.write_all(typed.as_bytes()).expect("it reads");
        drop(keyboard);
        let output = process.wait_with_output().expect("it ends");
        let asked = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success(), "{asked}");
        (String::from_utf8(output.stdout).expect("text"), asked)
    }

    /// Licenses a running server for so many terminals, alone (`none`) or as one of two (`full`), so that a test is not about
    /// licences.
    ///
    /// # Panics
    /// If anything refuses.
    pub fn license(site: &Site, api: &Api<'_>, redundancy: &str, terminals: u32) {
        let vendor = Vendor::new();
        vendor.is_trusted_by(site);
        let licensing = api.get("/api/v1/licensing").expect(200).json();
        let installation = licensing["servers"][0]["installation"].as_str();
        let counts = ["terminal-connection", "instant-failover", "windows-client"];
        let master = vendor.master(redundancy, &counts.map(|product| (product, terminals)));
        let licence = vendor.activate(&master, &[installation.expect("an identifier")]);
        let install = json!({"licence": licence});
        api.send("POST", "/api/v1/licences", &install).expect(201);
    }

    /// The folder of the authority.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Why a command is refused.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn refused(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(!output.status.success(), "{args:?} is refused");
        String::from_utf8(output.stderr).expect("text")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(programs::ours("daybreak-licence"));
        command.arg("--dir").arg(self.dir.path()).args(args);
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        let output = self.command(args).output();
        output.expect("the program is built")
    }

    /// What a command of the authority prints.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout).expect("text")
    }
}
