//! A virtual machine that boots over the network, and the wire that it boots on.
//!
//! A [`Lan`] is a private network with one tap device: the server's side has [`SERVER`], dnsmasq tells the
//! machine its address, the boot server and the name to ask for, and nothing else (no DNS, no TFTP). On one with
//! servers of their own machines dnsmasq gives addresses alone. A
//! [`Machine`] is QEMU with one network card on that tap; its firmware is Debian's, and its console is the
//! log of its process.
//!
//! The processor is emulated in software: some machines have a `/dev/kvm` that cannot run a real-mode
//! BIOS, and an emulated boot takes only seconds. `DAYBREAK_VM_ACCEL=kvm` asks for another accelerator.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::host::{Host, Private};
use crate::process::Process;
use crate::programs;

/// The server's address on a [`Lan`] (TEST-NET-1: it can be nobody's).
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The address of the site's DHCP server, where it is no boot server.
const DHCP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

/// The network card's address of a machine that is given no other: each has a wire to itself.
pub const MAC: &str = "52:54:00:da:7b:01";

/// The same address as PXELINUX spells it.
pub const DASHED_MAC: &str = "52-54-00-da-7b-01";

/// How long the DHCP server may take to start.
const DHCP_PATIENCE: Duration = Duration::from_secs(10);

/// A wire between the server and one machine.
#[derive(Debug)]
pub struct Lan {
    _dhcp: Process,
    host: Arc<Host>,
    servers: Vec<Arc<Host>>,
    _dir: TempDir,
}

impl Lan {
    /// A new wire, whose DHCP server sends the machine to [`SERVER`] for the file `boot_file`.
    ///
    /// # Panics
    /// If the system refuses a private network or a tap device in it; the message says what to do.
    #[must_use]
    pub fn new(boot_file: &str) -> Lan {
        let host = Host::new(Private::Network);
        host.run("ip", &["tuntap", "add", "dev", "tap0", "mode", "tap"]);
        host.run(
            "ip",
            &["address", "add", &format!("{SERVER}/24"), "dev", "tap0"],
        );
        host.run("ip", &["link", "set", "tap0", "up"]);
        Lan::served(host, "tap0", Some(boot_file), Vec::new())
    }

    /// A new wire with a machine for each of these servers on it, whose interface is `eth0`. The site's DHCP server knows none
    /// of them.
    #[must_use]
    pub fn with_servers(addresses: &[Ipv4Addr]) -> Lan {
        let host = Host::new(Private::Network);
        host.run("ip", &["link", "add", "br0", "type", "bridge"]);
        host.run("ip", &["tuntap", "add", "dev", "tap0", "mode", "tap"]);
        host.run(
            "ip",
            &["address", "add", &format!("{DHCP}/24"), "dev", "br0"],
        );
        let mut ports = vec!["tap0".to_owned()];
        let mut servers = Vec::new();
        for (number, address) in addresses.iter().enumerate() {
            let (server, port) = (host.beside(), format!("port{number}"));
            host.link(&port, &server, "eth0");
            server.run(
                "ip",
                &["address", "add", &format!("{address}/24"), "dev", "eth0"],
            );
            server.run("ip", &["link", "set", "eth0", "up"]);
            servers.push(Arc::new(server));
            ports.push(port);
        }
        for port in &ports {
            host.run("ip", &["link", "set", port, "master", "br0", "up"]);
        }
        host.run("ip", &["link", "set", "br0", "up"]);
        Lan::served(host, "br0", None, servers)
    }

    fn served(
        host: Host,
        interface: &str,
        boot_file: Option<&str>,
        servers: Vec<Arc<Host>>,
    ) -> Lan {
        let dir = tempfile::tempdir().expect("a private folder");
        let dhcp = start_dhcp(&host, interface, boot_file, dir.path());
        Lan {
            _dhcp: dhcp,
            host: Arc::new(host),
            servers,
            _dir: dir,
        }
    }

    /// The machines of the servers.
    #[must_use]
    pub fn servers(&self) -> &[Arc<Host>] {
        &self.servers
    }

    /// The server's side of the wire.
    #[must_use]
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Switches a machine on, with the network card [`MAC`].
    #[must_use]
    pub fn boot(&self, firmware: &Firmware<'_>) -> Machine {
        self.boot_with(MAC, firmware)
    }

    /// The same with another network card. One machine at a time is on the wire.
    #[must_use]
    pub fn boot_with(&self, mac: &str, firmware: &Firmware<'_>) -> Machine {
        let mut command = self.host.command(programs::system("qemu-system-x86_64"));
        let accel = std::env::var("DAYBREAK_VM_ACCEL").unwrap_or_else(|_| "tcg".to_owned());
        command.args(["-accel", &accel, "-nodefaults", "-no-reboot", "-m", "256"]);
        command.args(["-display", "none", "-monitor", "none", "-serial", "stdio"]);
        firmware.add_to(&mut command, mac);
        command.args(["-netdev", "tap,id=wire,ifname=tap0,script=no,downscript=no"]);
        Machine {
            process: Process::start("the virtual machine", command),
        }
    }
}

fn start_dhcp(host: &Host, interface: &str, boot_file: Option<&str>, dir: &Path) -> Process {
    let mut command = host.command(programs::system("dnsmasq"));
    command.args([
        "--conf-file=/dev/null",
        "--keep-in-foreground",
        "--log-facility=-",
    ]);
    command.args(["--user=root", "--group=root", "--pid-file=", "--port=0"]);
    command.arg(format!("--interface={interface}"));
    command.args(["--bind-interfaces", "--no-ping", "--dhcp-authoritative"]);
    command.args(["--dhcp-range=192.0.2.50,192.0.2.99,255.255.255.0,1h"]);
    if let Some(boot_file) = boot_file {
        command.arg(format!("--dhcp-boot={boot_file},,{SERVER}"));
    }
    command.arg(format!("--dhcp-leasefile={}", dir.join("leases").display()));
    let dhcp = Process::start("dnsmasq", command);
    dhcp.wait_for("it serves DHCP", DHCP_PATIENCE, |line| {
        line.contains("sockets bound exclusively to interface")
            .then_some(())
    });
    dhcp
}

/// What a machine has in its ROMs.
#[derive(Clone, Copy, Debug)]
pub enum Firmware<'a> {
    /// A BIOS, and iPXE in the ROM of an emulated Intel network card.
    Bios,
    /// U-Boot for such a machine, in the place of a BIOS.
    UBoot {
        /// Its ROM.
        rom: &'a Path,
    },
    /// UEFI, with its own PXE; `variables` is a file of its own for what it stores.
    Uefi {
        /// The firmware's code.
        code: &'a Path,
        /// The firmware's variables: written to.
        variables: &'a Path,
    },
}

impl Firmware<'_> {
    fn add_to(&self, command: &mut Command, mac: &str) {
        match self {
            // Without graphics, SeaBIOS puts the console that iPXE writes to on the serial line.
            Firmware::Bios => {
                command.args(["-machine", "pc,graphics=off", "-vga", "none", "-device"]);
                command.arg(format!("e1000,netdev=wire,mac={mac},bootindex=1"));
            }
            Firmware::UBoot { rom } => {
                command
                    .args(["-machine", "pc,graphics=off", "-vga", "none", "-bios"])
                    .arg(rom);
                command
                    .arg("-device")
                    .arg(format!("e1000,netdev=wire,mac={mac},romfile="));
            }
            Firmware::Uefi { code, variables } => {
                let flash = |file: &Path| format!("if=pflash,format=raw,file={}", file.display());
                command.args(["-machine", "q35", "-vga", "none"]);
                command.arg("-drive").arg(flash(code) + ",readonly=on");
                command.arg("-drive").arg(flash(variables));
                // No ROM: the firmware's own driver and its own TFTP client are what is tested.
                command.arg("-device");
                command.arg(format!(
                    "virtio-net-pci,netdev=wire,mac={mac},bootindex=1,romfile="
                ));
                command.args(["-device", "virtio-rng-pci"]);
            }
        }
    }
}

/// A machine that is on.
#[derive(Debug)]
pub struct Machine {
    process: Process,
}

impl Machine {
    /// Waits until the console shows `text`.
    ///
    /// # Panics
    /// If it does not within the time; the message shows the console.
    pub fn wait_for_console(&self, text: &str, within: Duration) {
        self.process
            .wait_for(&format!("`{text}` on the console"), within, |line| {
                line.contains(text).then_some(())
            });
    }

    /// What the console has shown so far.
    #[must_use]
    pub fn console(&self) -> String {
        self.process.log().join("\n")
    }
}
