//! The report for a person at a terminal.

use std::fmt;

use super::report::{Fleet, Outcome, StormReport, ratio};

/// From here on, of 1, the generator is the bottleneck.
const BUSY: f64 = 0.9;

/// What a reader must know before he believes the numbers; also for the page.
#[must_use]
pub fn warnings(report: &StormReport) -> Vec<String> {
    let mut warnings = Vec::new();
    if report.interrupted {
        warnings.push(format!(
            "ended early: {} clients were not done",
            report.total.unfinished
        ));
    }
    let (held, of) = (report.share.parts.len(), report.share.of);
    if held < of as usize {
        let parts: Vec<String> = report.share.parts.iter().map(u32::to_string).collect();
        warnings.push(format!("share {} of {of} only", parts.join(", ")));
    }
    for generator in report.generators.iter().filter(|each| each.busy > BUSY) {
        warnings.push(format!(
            "generator {} was busy {:.0} % of the time: it measures itself; give it --threads, or --share the clients",
            generator.part,
            generator.busy * 100.0
        ));
    }
    warnings
}

impl fmt::Display for StormReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = &self.total;
        writeln!(f, "storm       {}", self.scenario.title)?;
        for warning in warnings(self) {
            writeln!(f, "NOTE        {warning}")?;
        }
        write!(
            f,
            "clients     {} of {} booted, {} failed",
            total.completed, total.planned, total.failed
        )?;
        if total.unfinished > 0 {
            write!(f, ", {} unfinished", total.unfinished)?;
        }
        writeln!(f)?;
        for (cause, clients) in &total.failures {
            writeln!(f, "            {clients} × {cause}")?;
        }
        writeln!(f, "first data  {}", total.time_to_first_data_ms.quantiles)?;
        writeln!(f, "boot        {}", total.completion_ms.quantiles)?;
        writeln!(
            f,
            "throughput  {:.1} MB/s: {:.1} MB in {:.2} s",
            self.throughput_bytes_per_s / 1e6,
            super::report::octets(total.bytes) / 1e6,
            self.elapsed_s
        )?;
        let packets = &total.packets;
        writeln!(
            f,
            "packets     {} in, {} out, {} retries, {} duplicate, {} ahead of a gap",
            packets.received, packets.sent, packets.retries, packets.duplicate, packets.ahead
        )?;
        for (server, served) in self.servers.iter().zip(&total.served) {
            let share = 100.0 * ratio(f64::from(*served), f64::from(total.completed));
            writeln!(
                f,
                "server      {} ({}) booted {served}, {share:.1} %",
                server.name, server.address
            )?;
        }
        moved(f, total)?;
        for fleet in &self.fleets {
            one_fleet(f, self, fleet)?;
        }
        for file in &self.files {
            let hash = file.blake3.as_deref().and_then(|hash| hash.get(..16));
            writeln!(
                f,
                "file        {} ({}), {} octets, blake3 {}",
                file.name,
                file.role.name(),
                file.bytes,
                hash.map_or("not known".to_owned(), |hash| format!("{hash}…"))
            )?;
        }
        cost(f, self)
    }
}

fn moved(f: &mut fmt::Formatter<'_>, outcome: &Outcome) -> fmt::Result {
    if outcome.failovers == 0 {
        return Ok(());
    }
    writeln!(
        f,
        "moved       {} booted from another server, after {} moves",
        outcome.moved(),
        outcome.failovers
    )?;
    writeln!(f, "  waited    {}", outcome.moved_waited_ms.quantiles)?;
    writeln!(f, "  boot      {}", outcome.moved_completion_ms.quantiles)
}

fn one_fleet(f: &mut fmt::Formatter<'_>, report: &StormReport, fleet: &Fleet) -> fmt::Result {
    let outcome = &fleet.outcome;
    let served = report.servers.iter().zip(&outcome.served);
    let served: Vec<String> = served
        .map(|(server, served)| format!("{} {served}", server.name))
        .collect();
    writeln!(
        f,
        "fleet       {} ({}): {} of {} booted ({}), {} failed, {} moved",
        fleet.name,
        fleet.profile,
        outcome.completed,
        outcome.planned,
        served.join(", "),
        outcome.failed,
        outcome.moved()
    )?;
    writeln!(f, "  boot      {}", outcome.completion_ms.quantiles)
}

fn cost(f: &mut fmt::Formatter<'_>, report: &StormReport) -> fmt::Result {
    for generator in &report.generators {
        writeln!(
            f,
            "generator   {:.2} s of CPU, {:.2} s/GB, busy {:.0} % of {} thread(s), {} datagrams dropped by its kernel",
            generator.cpu_s,
            report.per_gb(generator.cpu_s),
            generator.busy * 100.0,
            generator.threads,
            generator.kernel_receive_drops
        )?;
    }
    for process in &report.server_processes {
        writeln!(
            f,
            "process     {} ({}): {:.2} s of CPU, {:.2} s/GB, {:.2} × the generator's; at most {:.1} MiB",
            process.name,
            process.pid,
            process.cpu_s,
            report.per_gb(process.cpu_s),
            ratio(process.cpu_s, report.generator_cpu_s()),
            super::report::octets(process.memory_bytes_max) / 1_048_576.0
        )?;
    }
    Ok(())
}
