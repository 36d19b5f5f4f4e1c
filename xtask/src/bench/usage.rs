//! What a server and its children cost, as the kernel counts it.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// Processor time of the process, its threads and its children that are still alive, to the nanosecond.
///
/// Time of threads that have ended is not in it: none of the servers measured here ends threads under load.
pub(super) fn processor_time(id: u32) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for id in family(id)? {
        // A child or a thread may end between the listing and the look.
        let Ok(tasks) = fs::read_dir(format!("/proc/{id}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let first = text.split_whitespace().next().unwrap_or("0");
            nanos += first.parse::<u64>().context("schedstat")?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// Memory of the process and its children that is resident, in MiB.
pub(super) fn resident_mib(id: u32) -> anyhow::Result<f64> {
    let mut kib = 0;
    for id in family(id)? {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
        // A child that has ended holds no memory.
        let number = line.and_then(|it| it.split_whitespace().next());
        kib += number.unwrap_or("0").parse::<u32>()?;
    }
    Ok(f64::from(kib) / 1_024.0)
}

/// Processor time of all children that have ended and were waited for, with theirs.
pub(super) fn ended_children() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in brackets and may hold blanks.
    let (_, fields) = stat.rsplit_once(") ").context("/proc/self/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| -> anyhow::Result<u64> {
        Ok(fields.get(at).context("/proc/self/stat")?.parse()?)
    };
    // Fields 16 and 17 of the manual, in ticks that Linux fixes at a hundred a second for this file.
    Ok(Duration::from_millis((ticks(13)? + ticks(14)?) * 10))
}

/// The process and its children's children; a process that has ended meanwhile has none.
fn family(id: u32) -> anyhow::Result<Vec<u32>> {
    let mut all = vec![id];
    let mut at = 0;
    while let Some(id) = all.get(at).copied() {
        at += 1;
        let folder = format!("/proc/{id}/task");
        let tasks = match fs::read_dir(&folder) {
            Ok(tasks) => tasks,
            Err(error) if at == 1 => return Err(error).context(folder),
            Err(_) => continue,
        };
        for task in tasks.flatten() {
            // A child belongs to the thread that started it.
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace() {
                all.push(child.parse()?);
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
