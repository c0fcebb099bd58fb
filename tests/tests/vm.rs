//! A virtual machine boots from the engine, as a terminal does: firmware, DHCP, TFTP.
//!
//! The wire is a tap device in a private network; see `daybreak_tests::vm`. One boot takes 10 to 20 s.
//! iPXE is in every run; PXELINUX, UEFI and U-Boot need more packages, and are in the long one.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use daybreak_tests::site::{Engine, Site};
use daybreak_tests::vm::{DASHED_MAC, Firmware, Lan, SERVER};
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

/// Two servers with the same files, of which the site's DHCP server knows nothing.
const PAIR: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];

/// A server of the pair that offers itself.
fn proxy(site: &Site) -> Engine {
    site.engine_on("0.0.0.0:69", &["--proxy-dhcp", "eth0"])
}

#[test]
fn a_machine_with_plain_pxe_firmware_boots_from_the_server_that_is_alive_with_no_change_anywhere() {
    let lan = Lan::with_servers(&PAIR);
    let sites = [0, 1].map(|server| Site::inside(&lan.servers()[server]));
    let mut engines = sites.each_ref().map(|site| {
        site.import(
            "boot.ipxe",
            format!("#!ipxe\nimgfetch --name image images/image.bin && imgstat image && echo {MARKER}\nshell\n")
                .as_bytes(),
        );
        site.import("images/image.bin", &content::octets(1, IMAGE_BYTES));
        Some(proxy(site))
    });
    let boot = || {
        let machine = lan.boot(&Firmware::Bios);
        machine.wait_for_console(MARKER, BOOT_PATIENCE);
        let console = machine.console();
        let from =
            |address: &Ipv4Addr| console.contains(&format!("tftp://{address}/boot.ipxe... ok"));
        PAIR.iter()
            .position(from)
            .unwrap_or_else(|| panic!("from a server:\n{console}"))
    };

    let first = boot();
    let engine = engines[first].take().expect("it has served");
    let offers = engine
        .metrics()
        .sum("daybreak_engine_proxy_dhcp_offers_total");
    assert!(offers >= 1.0, "{offers}");
    engine.kill();
    assert_eq!(boot(), 1 - first, "it boots from the other");
}

#[test]
#[ignore = "long: make test-long"]
fn uefi_firmware_boots_from_the_server_that_is_alive_with_no_change_anywhere() {
    let lan = Lan::with_servers(&PAIR);
    let sites = [0, 1].map(|server| Site::inside(&lan.servers()[server]));
    let mut engines = [0, 1].map(|server| {
        let site = &sites[server];
        site.import("grubx64.efi", &grub(site, PAIR[server]));
        let shown = format!("echo '{MARKER} {}'\nsleep 600\n", PAIR[server]);
        site.import("grub/grub.cfg", shown.as_bytes());
        Some(proxy(site))
    });
    let boot = || {
        let variables = sites[0].source("variables.fd", &installed(&ovmf("VARS")));
        let machine = lan.boot(&Firmware::Uefi {
            code: &ovmf("CODE"),
            variables: &variables,
        });
        machine.wait_for_console(MARKER, BOOT_PATIENCE);
        let console = machine.console();
        let from = |address: &Ipv4Addr| console.contains(&format!("{MARKER} {address}"));
        PAIR.iter()
            .position(from)
            .unwrap_or_else(|| panic!("from a server:\n{console}"))
    };

    let first = boot();
    engines[first].take().expect("it has served").kill();
    assert_eq!(boot(), 1 - first, "it boots from the other");
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
    site.import("grubx64.efi", &grub(&site, SERVER));
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

/// A GRUB for UEFI that goes on with the configuration on the server.
fn grub(site: &Site, server: Ipv4Addr) -> Vec<u8> {
    let early = site.source(
        "early.cfg",
        format!("configfile (tftp,{server})/grub/grub.cfg\n").as_bytes(),
    );
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
