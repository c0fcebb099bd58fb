//! A virtual machine boots from the engine, as a terminal does: firmware, DHCP, TFTP.
//!
//! The wire is a tap device in a private network; see `daybreak_tests::vm`. One boot takes 10 to 20 s.
//! iPXE is in every run; PXELINUX, UEFI and U-Boot need more packages, and are in the long one.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use daybreak_tests::pair::{Server, pair};
use daybreak_tests::site::Site;
use daybreak_tests::vm::{DASHED_MAC, Firmware, Lan, Machine, SERVER};
use daybreak_tests::{content, programs};

/// How long a machine may take from power to the marker, on a slow and busy processor.
const BOOT_PATIENCE: Duration = Duration::from_secs(180);

const IMAGE_BYTES: usize = 3_000_000;

/// What a machine shows when it has all its files.
const MARKER: &str = "daybreak: booted";

const PXELINUX: &str = "/usr/lib/PXELINUX/pxelinux.0";
const SYSLINUX_MODULES: &str = "/usr/lib/syslinux/modules/bios";
const UBOOT: &str = "/usr/lib/u-boot/qemu-x86/u-boot.rom";
const OVMF: &str = "/usr/share/OVMF";

fn listen() -> String {
    format!("{SERVER}:69")
}

#[test]
fn ipxe_in_a_machines_network_card_boots_from_the_engine() {
    let lan = Lan::new("boot.ipxe");
    let site = Site::inside(lan.host());
    site.import(
        "boot.ipxe",
        b"#!ipxe\n\
          echo daybreak: the first script runs\n\
          imgfetch --name image tftp://${next-server}/images/image.bin || goto failed\n\
          imgstat image\n\
          chain tftp://${next-server}/second.ipxe || goto failed\n\
          :failed\n\
          echo daybreak: FAILED\n\
          shell\n",
    );
    site.import("images/image.bin", &content::octets(1, IMAGE_BYTES));
    site.import(
        "second.ipxe",
        format!("#!ipxe\necho {MARKER}\nshell\n").as_bytes(),
    );
    let _engine = site.engine_on(&listen(), &[]);

    let machine = lan.boot(&Firmware::Bios);
    machine.wait_for_console(MARKER, BOOT_PATIENCE);
    let console = machine.console();
    assert!(
        console.contains(&format!("image : {IMAGE_BYTES} bytes")),
        "the image:\n{console}"
    );
}

/// The servers of a pair, of which the site's DHCP server knows nothing: the primary and the secondary.
const PAIR: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];

/// A pair as operators make it, licensed so that both boot. The files are imported on the primary; the secondary has them from there.
fn pair_on(lan: &Lan, files: &[(&str, Vec<u8>)]) -> [Server; 2] {
    let server = |name, at: usize| Server::offering(name, &lan.servers()[at], PAIR[at]);
    let [primary, secondary] = [server("a", 0), server("b", 1)];
    for (name, content) in files {
        primary.upload(name, content);
    }
    let _ = pair(&primary, &secondary);
    for server in [&primary, &secondary] {
        server.wait_for_state("in-sync");
        server.wait_for_redundancy("full");
    }
    for (name, content) in files {
        secondary.wait_until_served(name, content);
    }
    assert_eq!(primary.status()["role"], "primary");
    [primary, secondary]
}

/// A machine boots from the primary; then that is killed, all of it, and the next machine boots from the secondary.
///
/// Which of the two a machine takes while both offer themselves is chance: so the secondary says nothing until the first machine has
/// chosen, which its console shows by the line of `chosen` for a server.
fn machines_boot_from_both_in_turn(
    [mut primary, secondary]: [Server; 2],
    boot: impl Fn() -> Machine,
    chosen: impl Fn(Ipv4Addr) -> String,
) {
    let offers = |server: &Server| {
        let metrics = server.engine().metrics();
        metrics.sum("daybreak_engine_proxy_dhcp_offers_total")
    };
    let boots_from = |machine: &Machine, at: usize| {
        machine.wait_for_console(MARKER, BOOT_PATIENCE);
        let console = machine.console();
        assert!(console.contains(&chosen(PAIR[at])), "{console}");
        assert!(!console.contains(&chosen(PAIR[1 - at])), "{console}");
    };
    secondary.engine().process().pause();
    let machine = boot();
    machine.wait_for_console(&chosen(PAIR[0]), BOOT_PATIENCE);
    secondary.engine().process().go_on();
    boots_from(&machine, 0);
    assert!(offers(&primary) >= 1.0);
    drop(machine);

    primary.kill_engine();
    primary.kill();
    boots_from(&boot(), 1);
    assert!(offers(&secondary) >= 1.0);
    secondary.wait_for_state("peer-unreachable");
}

#[test]
fn a_machine_with_plain_pxe_firmware_boots_from_the_server_that_is_alive_with_no_change_anywhere() {
    let lan = Lan::with_servers(&PAIR);
    let script = format!(
        "#!ipxe\nimgfetch --name image images/image.bin && imgstat image && echo {MARKER}\nshell\n"
    );
    let image = content::octets(1, IMAGE_BYTES);
    let files = [("boot.ipxe", script.into()), ("images/image.bin", image)];
    machines_boot_from_both_in_turn(
        pair_on(&lan, &files),
        || lan.boot(&Firmware::Bios),
        |server| format!("tftp://{server}/boot.ipxe"),
    );
}

#[test]
#[ignore = "long: make test-long"]
fn uefi_firmware_boots_from_the_server_that_is_alive_with_no_change_anywhere() {
    let lan = Lan::with_servers(&PAIR);
    let sources = Site::new();
    let shown = format!("echo '{MARKER}'\nsleep 600\n");
    let files = [
        ("grubx64.efi", grub(&sources, &PAIR)),
        ("grub/grub.cfg", shown.into()),
    ];
    let boot = || {
        let variables = sources.source("variables.fd", &installed(&ovmf("VARS")));
        lan.boot(&Firmware::Uefi {
            code: &ovmf("CODE"),
            variables: &variables,
        })
    };
    machines_boot_from_both_in_turn(pair_on(&lan, &files), boot, |server| {
        format!("Server IP address is {server}")
    });
}

#[test]
#[ignore = "long: make test-long"]
fn pxelinux_takes_its_modules_and_the_machines_own_configuration_from_the_engine() {
    let lan = Lan::new("pxelinux.0");
    let site = Site::inside(lan.host());
    site.import("pxelinux.0", &installed(Path::new(PXELINUX)));
    for module in ["ldlinux.c32", "libcom32.c32", "libutil.c32", "cat.c32"] {
        site.import(
            module,
            &installed(&Path::new(SYSLINUX_MODULES).join(module)),
        );
    }
    // Found after the names that it tries first: those must be answered as missing.
    site.import(
        &format!("pxelinux.cfg/01-{DASHED_MAC}"),
        b"DEFAULT show\nPROMPT 0\nLABEL show\n COM32 cat.c32\n APPEND marker.txt\n",
    );
    site.import("marker.txt", format!("{MARKER}\n").as_bytes());
    let _engine = site.engine_on(&listen(), &[]);

    lan.boot(&Firmware::Bios)
        .wait_for_console(MARKER, BOOT_PATIENCE);
}

#[test]
#[ignore = "long: make test-long"]
fn uefi_firmware_starts_grub_from_the_engine_and_grub_reads_an_image_to_the_octet() {
    let lan = Lan::new("grubx64.efi");
    let site = Site::inside(lan.host());
    let image = site.source("image.bin", &content::octets(2, IMAGE_BYTES));
    let expected = sha256(&image);
    site.import("images/image.bin", &content::octets(2, IMAGE_BYTES));
    site.import("grubx64.efi", &grub(&site, &[SERVER]));
    site.import(
        "grub/grub.cfg",
        format!("sha256sum (tftp,{SERVER})/images/image.bin\necho '{MARKER}'\nsleep 600\n")
            .as_bytes(),
    );
    let _engine = site.engine_on(&listen(), &[]);

    let variables = site.source("variables.fd", &installed(&ovmf("VARS")));
    let machine = lan.boot(&Firmware::Uefi {
        code: &ovmf("CODE"),
        variables: &variables,
    });
    machine.wait_for_console(MARKER, BOOT_PATIENCE);
    let console = machine.console();
    assert!(
        console.contains(&expected),
        "the SHA-256 is {expected}:\n{console}"
    );
}

#[test]
#[ignore = "long: make test-long"]
fn u_boot_runs_a_script_from_the_engine_and_reads_an_image_to_the_octet() {
    let lan = Lan::new("boot.scr.uimg");
    let site = Site::inside(lan.host());
    let image = content::octets(3, IMAGE_BYTES);
    site.import("images/image.bin", &image);
    let script = format!(
        "tftpboot ${{loadaddr}} {SERVER}:images/image.bin\n\
         crc32 ${{loadaddr}} ${{filesize}}\n\
         echo {MARKER}\n"
    );
    site.import("boot.scr.uimg", &u_boot_script(&site, &script));
    let _engine = site.engine_on(&listen(), &[]);

    let machine = lan.boot(&Firmware::UBoot {
        rom: Path::new(UBOOT),
    });
    machine.wait_for_console(MARKER, BOOT_PATIENCE);
    let (console, expected) = (machine.console(), format!("==> {:08x}", crc32(&image)));
    assert!(
        console.contains(&expected),
        "the CRC is {expected}:\n{console}"
    );
}

/// A script in the form that U-Boot runs.
fn u_boot_script(site: &Site, script: &str) -> Vec<u8> {
    let text = site.source("boot.txt", script.as_bytes());
    let made = text.with_file_name("boot.scr.uimg");
    run_tool("mkimage", |command| {
        command
            .args(["-A", "x86", "-T", "script", "-C", "none", "-d"])
            .arg(&text)
            .arg(&made);
    });
    std::fs::read(made).expect("mkimage has made it")
}

/// A GRUB for UEFI that goes on with the configuration on the first of these servers that has it.
fn grub(site: &Site, servers: &[Ipv4Addr]) -> Vec<u8> {
    let configure = |server| format!("configfile (tftp,{server})/grub/grub.cfg\n");
    let early: String = servers.iter().map(configure).collect();
    let early = site.source("early.cfg", early.as_bytes());
    let made = early.with_file_name("grubx64.efi");
    run_tool("grub-mkimage", |command| {
        command
            .args(["--format=x86_64-efi", "--prefix=(tftp)/grub", "--config"])
            .arg(&early);
        command.arg("--output").arg(&made);
        command.args(["normal", "configfile", "echo", "tftp", "net", "efinet"]);
        command.args(["hashsum", "gcry_sha256", "sleep", "terminal"]);
    });
    std::fs::read(made).expect("grub-mkimage has made it")
}

/// The firmware's code or variables: Debian has them in two sizes, newer releases only in the larger.
fn ovmf(part: &str) -> PathBuf {
    let sizes = ["_4M", ""].map(|size| Path::new(OVMF).join(format!("OVMF_{part}{size}.fd")));
    sizes
        .into_iter()
        .find(|file| file.is_file())
        .expect("scripts/setup-test long installs ovmf")
}

/// A file of a Debian package.
fn installed(file: &Path) -> Vec<u8> {
    std::fs::read(file).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; scripts/setup-test long installs it",
            file.display()
        )
    })
}

fn sha256(file: &Path) -> String {
    let printed = run_tool("sha256sum", |command| {
        command.arg(file);
    });
    printed.split(' ').next().unwrap_or_default().to_owned()
}

/// The CRC-32 that U-Boot's command prints (IEEE 802.3, reflected).
fn crc32(octets: &[u8]) -> u32 {
    !octets.iter().fold(!0, |crc, &octet| {
        (0..8).fold(crc ^ u32::from(octet), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// Runs a program of the system to its end; what it prints.
fn run_tool(name: &str, add_arguments: impl FnOnce(&mut Command)) -> String {
    let mut command = programs::dying_with_test(programs::system(name));
    add_arguments(&mut command);
    let output = command.output().expect("a program that is installed");
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
