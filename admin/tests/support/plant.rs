//! A site with something of every kind, and what is published of it.

use std::collections::BTreeSet;

use daybreak_admin::effective::Problem;
use daybreak_admin::kind::Kind;
use daybreak_admin::object::Id;
use daybreak_admin::publish::{Compiler, Files, Hindered, publish};
use daybreak_store::{Name, Reader, Store};
use serde_json::{Value, json};

use super::{Site, mac};

/// A package with two versions, a model, a group in a group, two boot servers, a terminal server, a module.
pub(crate) struct Plant {
    pub(crate) site: Site,
    pub(crate) package: Id,
    pub(crate) halls: Id,
    pub(crate) hall7: Id,
    pub(crate) session: Id,
    pub(crate) module: Id,
}

impl Plant {
    pub(crate) fn new() -> Self {
        let site = Site::new();
        super::unlimited(&site.configuration);
        let boot = |kernel: &str| {
            json!([
                {"architecture": "x86-64-uefi", "kernel": kernel, "initrds": ["initrd"], "arguments": "quiet ro"},
            ])
        };
        let package = site.create(Kind::FirmwarePackage, &json!({"name": "linux", "active": "1", "versions": [
            {"version": "1", "boot": boot("vmlinuz")}, {"version": "2", "boot": boot("vmlinuz")},
        ]}));
        for (name, address, priority) in [("west", "192.0.2.11", 2), ("east", "192.0.2.10", 1)] {
            let json = json!({"name": name, "address": address, "priority": priority});
            site.create(Kind::BootServer, &json);
        }
        let server = json!({"name": "ts1", "address": "ts1.example", "protocol": "rdp"});
        let session = site.create(Kind::TerminalServer, &server);
        let module = site.create(Kind::Module, &json!({"name": "sound", "parameters": [
            {"name": "volume", "default": "50"}, {"name": "card", "default": "a", "choices": ["a", "b"]},
        ]}));
        let halls = site.create(Kind::TerminalGroup, &json!({"name": "halls", "settings": {
            "firmware": {"package": package}, "terminal_servers": [session], "instant_failover": true,
        }}));
        let hall7 = site.create(
            Kind::TerminalGroup,
            &json!({"name": "hall 7", "parent": halls, "settings": {
                "modules": [{"module": module, "parameters": {"card": "b"}}],
            }}),
        );
        Plant {
            site,
            package,
            halls,
            hall7,
            session,
            module,
        }
    }

    pub(crate) fn terminal(&self, number: u32) -> Value {
        json!({"name": format!("t{number}"), "macs": [mac(number)], "group": self.hall7})
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.site.dir.path().join("data")).expect("store")
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&self.site.dir.path().join("data")).expect("reader")
    }

    pub(crate) fn served(&self, name: &str) -> Option<String> {
        let catalog = self.reader().load().expect("catalog");
        let image = catalog
            .open(catalog.lookup(name.as_bytes())?)
            .expect("open");
        let mut content = vec![0; usize::try_from(image.len()).expect("small")];
        image.read_at(0, &mut content).expect("read");
        Some(String::from_utf8(content).expect("UTF-8"))
    }

    /// Compiles and publishes; gives the files, the problems, and the rendered names that imported files have.
    pub(crate) fn publish(&self, compiler: &mut Compiler) -> Outcome {
        let compiled = compiler.compile(&self.site.configuration.site());
        let last = publish(&self.store(), &compiled, None).expect("published");
        Outcome {
            files: compiled.files.clone(),
            problems: compiled.problems,
            taken: last.taken,
            hindered: last.hindered,
        }
    }
}

/// What was published.
pub(crate) struct Outcome {
    pub(crate) files: Files,
    pub(crate) problems: Vec<Problem>,
    pub(crate) taken: BTreeSet<Name>,
    pub(crate) hindered: Hindered,
}
