//! What the program itself uses of its machine.

use std::fs;

use tidegate_observe::metrics::Registry;

use crate::serve::Serving;

/// Bytes of a page of memory, on every machine we build for.
const PAGE_BYTES: u64 = 4_096;

/// Nanoseconds of the tick in which the kernel counts processor time; fixed by its interface.
const TICK_NANOS: u64 = 10_000_000;

/// Sets the gauges of the process.
pub(crate) fn measure(registry: &Registry, serving: &Serving) {
    let bodies = serving.gateway.body_bytes();
    registry.body_memory.with([]).set(bodies);
    for (level, records) in serving.logger.take_written() {
        registry.written_records.with([level.word()]).add(records);
    }
    measure_telemetry(registry, serving);
    if let Some(resident) = resident_bytes() {
        registry.resident_memory.with([]).set(resident);
    }
    if let Some(nanos) = cpu_nanos() {
        registry.cpu_time.with([]).set(nanos);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        registry.open_files.with([]).set(files.count() as u64);
    }
}

fn measure_telemetry(registry: &Registry, serving: &Serving) {
    let condition = serving.telemetry.condition();
    let failing = registry.failing_telemetry.with([]);
    failing.set(u64::from(condition.failing.is_some()));
    let Some(status) = condition.status else {
        return;
    };
    for (of, bytes) in [
        ("recent", status.recent_bytes),
        ("log", status.log_bytes),
        ("parts", status.part_bytes),
    ] {
        registry.stored_bytes.with([of]).set(bytes);
    }
    for (kind, oldest) in status.oldest {
        registry.oldest_record.with([kind.word()]).set(oldest.0);
    }
}

fn resident_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}

fn cpu_nanos() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in brackets, may hold anything: what counts begins behind it.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system).saturating_mul(TICK_NANOS))
}
