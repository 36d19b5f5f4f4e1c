//! Loads: as many calls as fit, or so many a second.

use std::{
    io,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use super::{
    clock,
    http::{Connection, Seen},
};

/// A request and where it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) address: &'a str,
    pub(super) request: &'a [u8],
}

impl Load<'_> {
    /// Calls on every connection at once, one after the other, for that long. Returns how many were answered.
    pub(super) fn saturate(&self, connections: u32, time: Duration) -> io::Result<u32> {
        let calls = AtomicU32::new(0);
        let ends = clock::now() + time;
        self.on_each(connections, |connection| {
            while clock::now() < ends {
                connection.call(self.request)?;
                calls.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })?;
        Ok(calls.into_inner())
    }

    /// Begins `per_second` calls a second, evenly, for that long; calls in flight never hold the next one up unless there are
    /// as many as `connections`.
    pub(super) fn at_rate(
        &self,
        per_second: u32,
        connections: u32,
        time: Duration,
    ) -> io::Result<Vec<Seen>> {
        let next = AtomicU32::new(0);
        let gap = Duration::from_secs(1) / per_second;
        let began = clock::now();
        let parts = self.on_each(connections, |connection| {
            let mut seen = Vec::new();
            loop {
                let due = gap * next.fetch_add(1, Ordering::Relaxed);
                if due >= time {
                    return Ok(seen);
                }
                thread::sleep(due.saturating_sub(began.elapsed()));
                seen.push(connection.call(self.request)?);
            }
        })?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// A thread and a connection each: what is measured are the servers, and threads are the simplest thing that is right.
    fn on_each<T: Send>(
        &self,
        connections: u32,
        run: impl Fn(&mut Connection) -> io::Result<T> + Sync,
    ) -> io::Result<Vec<T>> {
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(Connection::open(self.address)?);
        }
        thread::scope(|scope| {
            let run = &run;
            let threads: Vec<_> = open
                .iter_mut()
                .map(|connection| scope.spawn(move || run(connection)))
                .collect();
            let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
            let ended = ended.map(|it| {
                it.unwrap_or_else(|_| Err(io::Error::other("a thread of the load panicked")))
            });
            ended.collect()
        })
    }
}
