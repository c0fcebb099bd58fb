//! The `async-tftp` crate as a server, with its own defaults: `peer-async-tftp ADDRESS:PORT FOLDER`.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use async_tftp::server::TftpServerBuilder;

const USAGE: &str = "usage: peer-async-tftp ADDRESS:PORT FOLDER";

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let address = words.next().context(USAGE)?.parse().context(USAGE)?;
    let folder = words.next().context(USAGE)?;
    // The executor that polls its sockets on the thread that runs it: the cheapest there is for it.
    async_io::block_on(async {
        let server = TftpServerBuilder::with_dir_ro(folder)?
            .bind(address)
            .build()
            .await?;
        server.serve().await
    })?;
    Ok(())
}
