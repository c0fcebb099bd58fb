//! By which names the server may be asked.
//!
//! A page elsewhere can have its own name lead to this machine, and its visitors' browsers then take this server for a part of
//! it (DNS rebinding). They say that name in the `Host` header; so only addresses, `localhost` and what the
//! operator has named are answered. Over TLS the browser has checked the name itself, against the certificate.

use std::collections::BTreeSet;
use std::net::IpAddr;

use actix_web::http::header::{self, HeaderMap};

/// Which names are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    /// All of them.
    Any,
    /// Addresses, `localhost`, and these, in lower case.
    Only(BTreeSet<String>),
}

impl Hosts {
    /// Addresses, `localhost`, and `names`.
    pub(super) fn only(names: &[String]) -> Self {
        Hosts::Only(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether a request with these headers is answered.
    pub(super) fn allow(&self, headers: &HeaderMap) -> bool {
        let Hosts::Only(names) = self else {
            return true;
        };
        let mut hosts = headers.get_all(header::HOST);
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        host.to_str().is_ok_and(|host| is_known(names, host))
    }
}

fn is_known(names: &BTreeSet<String>, host: &str) -> bool {
    // The port is whatever leads here.
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let name = match bracketed {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || names.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_what_was_named_are_known_and_nothing_else() {
        let names = ["Plant.Example".to_ascii_lowercase()].into();
        for host in [
            "127.0.0.1",
            "127.0.0.1:8069",
            "[::1]:8069",
            "[::1]",
            "192.0.2.1:80",
            "localhost",
            "LOCALHOST:8069",
            "admin.localhost:1",
            "plant.example",
            "PLANT.example:443",
        ] {
            assert!(is_known(&names, host), "{host}");
        }
        for host in [
            "",
            ":8069",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:8069",
            "plant.example.evil",
            "x-plant.example",
            "127.0.0.1@evil.example",
            "evil.example#localhost",
        ] {
            assert!(!is_known(&names, host), "{host}");
        }
    }
}
