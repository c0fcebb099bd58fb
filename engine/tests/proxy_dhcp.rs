//! ProxyDHCP of the real program, on a wire of its own: what the kernel gives its sockets, and that it works behind its walls.
//!
//! What is answered to whom is tested in `src/dhcp/tests.rs`.

mod support;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use support::engine::{Engine, command, publish};
use support::eventually;
use support::network::in_own_network;

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// The server's machine: a network beside the test's own, which is the client's.
struct Machine(Child);

impl Machine {
    fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args([
                "--net",
                "sh",
                "-c",
                "ip link set lo up && echo ready && exec cat",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        let machine = Machine(holder);
        let pid = machine.0.id().to_string();
        run(Command::new("ip").args([
            "link", "add", "client", "type", "veth", "peer", "name", "server", "netns", &pid,
        ]));
        for (words, of_server) in [
            (format!("address add {SERVER}/24 dev server"), true),
            ("link set server up".into(), true),
            (format!("address add {CLIENT}/24 dev client"), false),
            ("link set client up".into(), false),
        ] {
            let mut ip = if of_server {
                machine.inside("ip")
            } else {
                Command::new("ip")
            };
            run(ip.args(words.split(' ')));
        }
        machine
    }

    /// A program on that machine.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.0.id().to_string(), "--", program]);
        command
    }

    fn engine(&self, data: &std::path::Path, arguments: &[&str]) -> Engine {
        let program = command(data, &[]).get_program().to_owned();
        let mut engine = self.inside(program.to_str().unwrap());
        engine.arg("--data").arg(data);
        engine
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Engine::start_as(engine, arguments)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// A socket of the client's firmware.
fn socket(port: u16) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.bind_device(Some(b"client")).unwrap();
    socket.set_broadcast(true).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    socket
        .bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())
        .unwrap();
    socket.into()
}

/// A message of a PC with BIOS: DISCOVER (1) or REQUEST (3).
fn message(kind: u8, ciaddr: Ipv4Addr) -> Vec<u8> {
    let mut octets = vec![0; 240];
    octets[..3].copy_from_slice(&[1, 1, 6]);
    octets[12..16].copy_from_slice(&ciaddr.octets());
    octets[28..34].copy_from_slice(&[0x52, 0x54, 0, 0, 0, 1]);
    octets[236..].copy_from_slice(&[99, 130, 83, 99]);
    octets.extend([53, 1, kind, 93, 2, 0, 0, 60, 9]);
    octets.extend(b"PXEClient");
    octets.push(255);
    octets
}

/// Asks until somebody answers: what and who.
#[track_caller]
fn ask(socket: &UdpSocket, octets: &[u8], to: SocketAddrV4) -> (Vec<u8>, SocketAddr) {
    eventually("an answer", || {
        // Where the wire is not up yet, the next try.
        let _ = socket.send_to(octets, to);
        let mut room = [0; 1500];
        let (len, from) = socket.recv_from(&mut room).ok()?;
        Some((room[..len].to_vec(), from))
    })
}

const FILE: &[u8] = b"undionly.kpxe";

fn names_the_file(answer: &[u8], kind: u8) {
    assert_eq!(answer[0], 2, "a reply");
    assert_eq!(answer[20..24], SERVER.octets(), "the next server");
    assert_eq!(answer[108..108 + FILE.len()], *FILE);
    assert!(
        answer[240..]
            .windows(3)
            .any(|option| option == [53, 1, kind])
    );
}

#[test]
fn clients_are_told_their_file_by_broadcast_and_alone_and_other_dhcp_servers_of_the_machine_lose_nothing()
 {
    const TEST: &str = "clients_are_told_their_file_by_broadcast_and_alone_and_other_dhcp_servers_of_the_machine_lose_nothing";
    in_own_network(TEST, "ip link set lo up", || {
        let data = tempfile::tempdir().unwrap();
        publish(data.path(), &[("undionly.kpxe", b"program")]);
        let machine = Machine::new();
        let engine = machine.engine(
            data.path(),
            &["--listen", "0.0.0.0:0", "--proxy-dhcp", "server"],
        );
        assert!(engine.find("INFO confined").is_some());

        let client = socket(68);
        let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
        let (offer, from) = ask(&client, &message(1, Ipv4Addr::UNSPECIFIED), everybody);
        names_the_file(&offer, 2);
        assert_eq!(from, SocketAddrV4::new(SERVER, 67).into());

        // Another server like it, which speaks to all clients: c89.
        let mut other = message(2, Ipv4Addr::UNSPECIFIED);
        other[0] = 2;
        let clients = SocketAddrV4::new(Ipv4Addr::BROADCAST, 68);
        let told = eventually("a line that tells of another server", || {
            client.send_to(&other, clients).unwrap();
            engine.find("another server answers PXE clients here")
        });
        assert!(told.contains(&CLIENT.to_string()), "{told}");
        // What is sent to everybody comes back to here.
        while client.recv_from(&mut [0; 1500]).is_ok() {}

        // The boot server's port, from a port of the client's choice.
        let another = socket(0);
        let boot_server = SocketAddrV4::new(SERVER, 4011);
        let (acknowledgement, from) = ask(&another, &message(3, CLIENT), boot_server);
        names_the_file(&acknowledgement, 5);
        assert_eq!(from, boot_server.into());
        eventually("a line that names the file", || {
            engine.find("boot file named")
        });

        // A DHCP server that starts later on the same machine: what is sent to it alone, it gets.
        let leases = data.path().with_extension("leases");
        let mut server = machine
            .inside("dnsmasq")
            .args(["--conf-file=/dev/null", "--no-daemon"])
            .args([
                "--pid-file=",
                "--port=0",
                "--interface=server",
                "--bind-interfaces",
                "--no-ping",
            ])
            .args([
                "--dhcp-range=192.0.2.2,192.0.2.60,255.255.255.0,1h",
                "--dhcp-authoritative",
            ])
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .stderr(Stdio::null())
            .spawn()
            .expect("dnsmasq: scripts/setup-test installs it");
        let renewal = {
            let mut octets = message(3, CLIENT);
            octets.truncate(octets.len() - 12);
            octets.push(255);
            octets
        };
        let (answer, from) = ask(&client, &renewal, SocketAddrV4::new(SERVER, 67));
        server.kill().unwrap();
        server.wait().unwrap();
        let _ = std::fs::remove_file(leases);
        assert_eq!(from, SocketAddrV4::new(SERVER, 67).into());
        assert!(
            answer[240..].windows(2).any(|option| option == [51, 4]),
            "a lease: {answer:?}"
        );
    });
}

#[test]
fn a_relay_is_answered_where_that_is_asked_for_and_nowhere_else() {
    const TEST: &str = "a_relay_is_answered_where_that_is_asked_for_and_nowhere_else";
    in_own_network(TEST, "ip link set lo up", || {
        let data = tempfile::tempdir().unwrap();
        publish(data.path(), &[("undionly.kpxe", b"program")]);
        let machine = Machine::new();
        let mut passed_on = message(1, Ipv4Addr::UNSPECIFIED);
        passed_on[24..28].copy_from_slice(&CLIENT.octets());
        let (relay, server) = (socket(67), SocketAddrV4::new(SERVER, 67));
        let arguments = ["--listen", "0.0.0.0:0", "--proxy-dhcp", "server"];
        {
            let _engine = machine.engine(data.path(), &arguments);
            // It is up, and answers neighbours.
            let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
            ask(&socket(68), &message(1, Ipv4Addr::UNSPECIFIED), everybody);
            relay.send_to(&passed_on, server).unwrap();
            let mut room = [0; 1500];
            // Until nothing more comes; what was asked of everybody comes back to here.
            while relay.recv_from(&mut room).is_ok() {
                assert_eq!(room[0], 1, "the relay is not answered");
            }
        }
        let arguments = [&arguments[..], &["--proxy-dhcp-relayed"]].concat();
        let _engine = machine.engine(data.path(), &arguments);
        let (offer, from) = ask(&relay, &passed_on, server);
        names_the_file(&offer, 2);
        assert_eq!(offer[24..28], CLIENT.octets());
        assert_eq!(from, server.into());
    });
}

#[test]
fn clients_are_answered_on_interfaces_that_are_named_and_on_none_if_none_is() {
    const TEST: &str = "clients_are_answered_on_interfaces_that_are_named_and_on_none_if_none_is";
    in_own_network(TEST, "ip link set lo up", || {
        let data = tempfile::tempdir().unwrap();
        publish(data.path(), &[("undionly.kpxe", b"program")]);
        let machine = Machine::new();
        for words in [
            "link add elsewhere type veth peer name nobody",
            "address add 198.51.100.1/24 dev elsewhere",
            "link set elsewhere up",
            "link set nobody up",
        ] {
            run(machine.inside("ip").args(words.split(' ')));
        }
        let client = socket(68);
        let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
        let asked = message(1, Ipv4Addr::UNSPECIFIED);
        for (named, is_answered) in [
            (&["--proxy-dhcp", "server"][..], true),
            (&["--proxy-dhcp", "elsewhere"], false),
            (&[], false),
            (&["--proxy-dhcp", "elsewhere,server"], true),
        ] {
            let arguments = [&["--listen", "0.0.0.0:0"], named].concat();
            let _engine = machine.engine(data.path(), &arguments);
            if is_answered {
                let (offer, _) = ask(&client, &asked, everybody);
                names_the_file(&offer, 2);
                // Nothing of it is left for the next one.
                while client.recv_from(&mut [0; 1500]).is_ok() {}
            } else {
                for _ in 0..2 {
                    client.send_to(&asked, everybody).unwrap();
                    assert!(client.recv_from(&mut [0; 1500]).is_err(), "{named:?}");
                }
            }
        }
    });
}

#[test]
fn an_interface_without_an_address_is_not_answered_on_and_that_is_said() {
    const TEST: &str = "an_interface_without_an_address_is_not_answered_on_and_that_is_said";
    in_own_network(TEST, "ip link set lo up", || {
        let data = tempfile::tempdir().unwrap();
        publish(data.path(), &[("undionly.kpxe", b"program")]);
        let machine = Machine::new();
        run(machine
            .inside("ip")
            .args(["address", "flush", "dev", "server"]));
        let arguments = ["--listen", "0.0.0.0:0", "--proxy-dhcp", "server"];
        let engine = machine.engine(data.path(), &arguments);
        let client = socket(68);
        let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
        eventually("a warning", || {
            let _ = client.send_to(&message(1, Ipv4Addr::UNSPECIFIED), everybody);
            engine.find("the interface has no IPv4 address")
        });
        // Once it has one, there is nothing more to do.
        let address = format!("{SERVER}/24");
        run(machine
            .inside("ip")
            .args(["address", "add", &address, "dev", "server"]));
        let (offer, _) = ask(&client, &message(1, Ipv4Addr::UNSPECIFIED), everybody);
        names_the_file(&offer, 2);
    });
}

#[test]
fn an_interface_that_is_not_there_and_a_port_that_another_has_are_refused_with_what_to_do() {
    const TEST: &str =
        "an_interface_that_is_not_there_and_a_port_that_another_has_are_refused_with_what_to_do";
    in_own_network(TEST, "ip link set lo up", || {
        let data = tempfile::tempdir().unwrap();
        publish(data.path(), &[("a", b"a")]);
        let refused = |interface: &str| {
            let arguments = [
                "--listen",
                "127.0.0.1:0",
                "--metrics",
                "127.0.0.1:0",
                "--proxy-dhcp",
            ];
            let mut engine = command(data.path(), &[&arguments[..], &[interface]].concat());
            let output = engine.output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            (output.status.code(), text)
        };
        let (code, text) = refused("eth9");
        assert_eq!(code, Some(12), "{text}");
        assert!(text.contains("eth9") && text.contains("ip link"), "{text}");
        let _other = UdpSocket::bind("0.0.0.0:4011").unwrap();
        let (code, text) = refused("lo");
        assert_eq!(code, Some(12), "{text}");
        assert!(text.contains("4011") && text.contains("ss -lunp"), "{text}");
    });
}
