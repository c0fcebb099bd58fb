//! What was typed about ProxyDHCP, understood.

use crate::limits;
use crate::options::Options;
use crate::settings::{SettingsError, within};

/// Where clients are told what to boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyDhcp {
    /// Network interfaces; none: nowhere.
    pub interfaces: Vec<String>,
    /// Also what relays send to this machine.
    pub relayed: bool,
    /// Where the same files are by HTTP.
    pub http_port: Option<u16>,
}

impl ProxyDhcp {
    /// The meaning of options.
    ///
    /// # Errors
    /// What has none.
    pub(crate) fn of(options: &Options) -> Result<Self, SettingsError> {
        let interfaces = &options.proxy_dhcp;
        if interfaces.len() > limits::DHCP_INTERFACES_MAX {
            return Err(SettingsError::TooManyInterfaces);
        }
        for (at, name) in interfaces.iter().enumerate() {
            // What the kernel takes for a name.
            let odd = |letter: char| letter == '/' || letter.is_whitespace() || letter == '\0';
            let fits = (1..libc::IFNAMSIZ).contains(&name.len()) && !name.contains(odd);
            if !fits || interfaces[..at].contains(name) {
                return Err(SettingsError::NotAnInterface(name.clone()));
            }
        }
        let relayed = options.proxy_dhcp_relayed.unwrap_or(false);
        for (option, given) in [
            ("proxy-dhcp-relayed", relayed),
            ("http-boot-port", options.http_boot_port.is_some()),
        ] {
            if given && interfaces.is_empty() {
                return Err(SettingsError::WithoutProxyDhcp(option));
            }
        }
        let port = options.http_boot_port;
        Ok(ProxyDhcp {
            interfaces: interfaces.clone(),
            relayed,
            http_port: port
                .map(|port| within("http-boot-port", port, 1, u16::MAX))
                .transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::CommandLine;
    use crate::settings::Settings;

    fn settings(arguments: &[&str]) -> Result<ProxyDhcp, SettingsError> {
        let arguments = [&["daybreak-engine"], arguments].concat();
        let typed = CommandLine::try_parse_from(arguments).expect("a command line");
        Ok(Settings::read(typed)?.proxy_dhcp)
    }

    #[test]
    fn clients_are_told_what_to_boot_on_named_interfaces_and_nowhere_else() {
        let none = settings(&["--data", "d"]).unwrap();
        assert_eq!(none, ProxyDhcp::default());
        let some = settings(&[
            "--data",
            "d",
            "--proxy-dhcp",
            "eth0,eth1",
            "--http-boot-port",
            "80",
        ]);
        let some = some.unwrap();
        assert_eq!(some.interfaces, ["eth0", "eth1"]);
        assert_eq!((some.relayed, some.http_port), (false, Some(80)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.toml");
        std::fs::write(
            &path,
            "data = 'd'\nproxy_dhcp = ['br0']\nproxy_dhcp_relayed = true\n",
        )
        .unwrap();
        let filed = settings(&["--config", path.to_str().unwrap()]).unwrap();
        assert_eq!(
            (filed.interfaces, filed.relayed),
            (vec!["br0".to_owned()], true)
        );
        let refused = |arguments: &[&str]| {
            let arguments = [&["--data", "d"], arguments].concat();
            settings(&arguments).unwrap_err().to_string()
        };
        for name in ["", "eth0,eth0", "a/b", "a b", "sixteen_letters_"] {
            assert!(
                refused(&["--proxy-dhcp", name]).contains("ip link"),
                "{name}"
            );
        }
        assert!(refused(&["--proxy-dhcp-relayed"]).contains("--proxy-dhcp:"));
        assert!(refused(&["--http-boot-port", "80"]).contains("--proxy-dhcp:"));
        assert!(refused(&["--proxy-dhcp", "eth0", "--http-boot-port", "0"]).contains("from 1"));
    }
}
