//! What a transfer costs: memory that 10,000 of them take, beyond the endpoint itself.

mod support;

use daybreak_tftp::endpoint::Config;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_transfer_costs_at_most_a_kibibyte() {
    const TRANSFERS: u32 = 10_000;
    let mut server = Server::with(Config::default());
    server.file("f", 100_000);
    let in_use = || {
        let stats = ALLOCATOR.stats();
        stats.bytes_allocated as i64 - stats.bytes_deallocated as i64
    };
    let before = in_use();
    for number in 0..TRANSFERS {
        let from = std::net::SocketAddr::from(([10, 1, (number >> 8) as u8, number as u8], 2000));
        let sent = server.rrq(
            from,
            "f",
            "octet",
            &[("blksize", "1428"), ("windowsize", "16")],
        );
        server.ack(&sent[0], 0);
        // Everything passes the bucket of the way out, which drains with time.
        server.now = server.now + ms(1);
        while server.endpoint.poll_event().is_some() {}
    }
    let each = (in_use() - before) / i64::from(TRANSFERS);
    println!("{each} octets a transfer");
    assert_eq!(server.endpoint.transfers_live(), TRANSFERS as usize);
    assert!(each <= 1024, "{each} octets a transfer");
}
