//! The `tftpd` crate as a server, as its own program starts it: `peer-tftpd -i ADDRESS -p PORT -d FOLDER -r -q`.
#![forbid(unsafe_code)]

use anyhow::{Result, anyhow};
use tftpd::{Config, Server};

fn main() -> Result<()> {
    let config = Config::new(std::env::args()).map_err(|error| anyhow!("{error}"))?;
    let mut server = Server::new(&config).map_err(|error| anyhow!("{error}"))?;
    server.listen();
    Ok(())
}
