//! `terminals/<mac>.json`: what a terminal reads about itself. The schema is `docs/schema/terminal-1.json`.
//!
//! Fields are only ever added within a schema version; a reader passes over what it does not know.

use serde::Serialize;

use super::template::Script;
use crate::effective::{Effective, Firmware, LoadedModule, Session};
use crate::kind::{Body, BootServer, Display, Host, Kind, MacAddress, StaticAddress, Terminal};
use crate::object::Id;
use crate::security::StatusKey;
use crate::site::Site;

/// The version of the schema.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// Where engines take status reports, unless they are told another port.
const STATUS_PORT: u16 = 4901;

/// The configuration of one terminal.
#[derive(Serialize)]
pub(super) struct TerminalFile<'a> {
    schema_version: u32,
    id: &'a Id,
    name: &'a str,
    mac: MacAddress,
    macs: &'a [MacAddress],
    enabled: bool,
    /// `null`: DHCP.
    address: Option<&'a StaticAddress>,
    boot_servers: &'a [FileServer<'a>],
    enforce_boot_priority: bool,
    firmware: Option<&'a Firmware>,
    modules: &'a [LoadedModule],
    terminal_servers: &'a [Session],
    instant_failover: bool,
    windows_client: bool,
    shared_keyboard_mouse: bool,
    display: Option<Display>,
    allow_shadowing: bool,
    status_monitors: Vec<&'a str>,
    status: StatusReports,
}

/// How the terminal reports its status to its monitors.
#[derive(Serialize)]
struct StatusReports {
    port: u16,
    key: Option<StatusKey>,
}

/// A boot server, as a terminal sees it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct FileServer<'a> {
    pub(super) name: &'a str,
    pub(super) address: &'a str,
}

/// What a template is rendered with.
#[derive(Serialize)]
pub(super) struct ScriptContext<'a> {
    terminal: &'a TerminalFile<'a>,
    boot_servers: &'a [ScriptServer],
    admission: Admission,
}

/// Whether a terminal boots by the licences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Admission {
    /// It does.
    Seated,
    /// It holds no seat.
    NoSeat,
    /// This server boots nobody; the other one does.
    Standby,
}

/// A boot server, as a template sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ScriptServer {
    /// From 1.
    number: usize,
    name: String,
    host: String,
    url_host: String,
}

impl<'a> TerminalFile<'a> {
    pub(super) fn new(
        id: &'a Id,
        terminal: &'a Terminal,
        mac: MacAddress,
        effective: &'a Effective,
        boot_servers: &'a [FileServer<'a>],
        automatic: bool,
    ) -> Self {
        let own = effective.status_monitors.value.as_deref();
        let mut monitors: Vec<&str> = Vec::new();
        // Where both servers are kept the same by themselves, both know how every terminal is.
        if automatic || own.is_none() {
            monitors.extend(boot_servers.iter().map(|server| server.address));
        }
        for host in own.into_iter().flatten().map(Host::as_str) {
            if !monitors.contains(&host) {
                monitors.push(host);
            }
        }
        TerminalFile {
            schema_version: SCHEMA_VERSION,
            id,
            name: terminal.name.as_str(),
            mac,
            macs: &terminal.macs,
            enabled: terminal.enabled,
            address: terminal.address.as_ref(),
            boot_servers,
            enforce_boot_priority: effective.enforce_boot_priority.value,
            firmware: effective.firmware.value.as_ref(),
            modules: &effective.modules.value,
            terminal_servers: &effective.terminal_servers.value,
            instant_failover: effective.instant_failover.value,
            windows_client: effective.windows_client.value,
            shared_keyboard_mouse: effective.shared_keyboard_mouse.value,
            display: effective.display.value,
            allow_shadowing: effective.allow_shadowing.value,
            status_monitors: monitors,
            status: StatusReports {
                port: STATUS_PORT,
                key: terminal.status_key,
            },
        }
    }
}

impl<'a> ScriptContext<'a> {
    pub(super) fn new(
        terminal: &'a TerminalFile<'a>,
        boot_servers: &'a [ScriptServer],
        admission: Admission,
    ) -> Self {
        ScriptContext {
            terminal,
            boot_servers,
            admission,
        }
    }
}

/// The boot servers of a site, in the order in which they are tried.
pub(crate) fn boot_servers(site: &Site) -> Vec<&BootServer> {
    let table = site.table(Kind::BootServer);
    let mut servers: Vec<_> = table
        .by_name()
        .filter_map(|object| match &object.body {
            Body::BootServer(server) => Some(server),
            _ => None,
        })
        .collect();
    servers.sort_by_key(|server| server.priority);
    servers
}

/// As the templates of `script` see them. If none is configured: the one that the script itself came from, as that
/// firmware spells it.
pub(super) fn script_servers(script: Script, servers: &[&BootServer]) -> Vec<ScriptServer> {
    if servers.is_empty() {
        let host = match script {
            Script::Ipxe | Script::UnknownIpxe => "${next-server}",
            Script::Pxelinux | Script::UnknownPxelinux => "",
            Script::Grub | Script::UnknownGrub => "$net_default_server",
        };
        return vec![ScriptServer {
            number: 1,
            name: "this".into(),
            host: host.into(),
            url_host: host.into(),
        }];
    }
    let numbered = (1..).zip(servers);
    numbered
        .map(|(number, server)| ScriptServer {
            number,
            name: server.name.as_str().to_owned(),
            host: server.address.as_str().to_owned(),
            url_host: server.address.in_url(),
        })
        .collect()
}

/// Contexts that every template must render with: complete, without firmware, disabled, without and with two servers.
pub(super) fn sample_contexts() -> Vec<serde_json::Value> {
    let server = |number: u8| {
        let host = format!("192.0.2.{number}");
        serde_json::json!({"number": number, "name": format!("server {number}"), "host": host, "url_host": host})
    };
    let firmware = serde_json::json!({
        "package": "linux", "version": "1", "kernel": "firmware/linux/1/vmlinuz",
        "initrds": ["firmware/linux/1/initrd", "firmware/linux/1/modules"], "arguments": "quiet",
    });
    let terminal = |enabled: bool, firmware: serde_json::Value| {
        let mac = "52:54:00:00:00:01";
        serde_json::json!({
            "schema_version": SCHEMA_VERSION, "id": "0".repeat(32), "name": "sample", "mac": mac, "macs": [mac],
            "enabled": enabled, "address": null, "boot_servers": [], "enforce_boot_priority": false,
            "firmware": firmware, "modules": [], "terminal_servers": [], "instant_failover": false,
            "windows_client": false, "shared_keyboard_mouse": false, "display": null, "allow_shadowing": false, "status_monitors": [],
            "status": {"port": STATUS_PORT, "key": null},
        })
    };
    let mut contexts = Vec::new();
    for servers in [vec![], vec![server(1)], vec![server(1), server(2)]] {
        for (enabled, firmware) in [
            (true, firmware.clone()),
            (true, serde_json::Value::Null),
            (false, firmware.clone()),
        ] {
            contexts.push(serde_json::json!({
                "terminal": terminal(enabled, firmware), "boot_servers": servers, "admission": "seated",
            }));
        }
    }
    contexts
}
