//! How much memory the gateway holds: idle, under load, with thousands of open streams, and after each.

use std::{thread, time::Duration};

use super::{Rounds, figure::Figure, http::Connection, load::Load, request::Shape, usage};
use crate::{
    scratch::Scratch,
    server::{self, Server},
    suites::Rig,
};

/// A new gateway each, and half a minute each: more would measure patience.
const ROUNDS_MAX: u32 = 3;

const CALLS_PER_SECOND: u32 = 2_000;
const LOADED: Duration = Duration::from_secs(10);
const CONNECTIONS: u32 = 64;
const STREAMS: usize = 5_000;

/// Group commits end, idle connections are closed, the allocator gives back.
const SETTLING: Duration = Duration::from_secs(5);

/// How often memory is looked at under load, for its highest.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn measure(rig: &Rig, rounds: Rounds) -> anyhow::Result<Vec<Figure>> {
    super::raise_open_files()?;
    let figure = |name: &str, unit, at_most| Figure::new(name, "tidegate", unit).at_most(at_most);
    let mut idle = figure("memory idle", "MiB", 25.0);
    let mut loaded = figure("memory at 2,000 calls/s, highest", "MiB", 64.0);
    let mut after = figure("memory after the load / idle", "", 1.2);
    let mut streams = figure("memory with 5,000 open streams", "MiB", 200.0);
    let mut closed = figure("memory after the streams / idle", "", 1.2);
    for _ in 0..rounds.at_most(ROUNDS_MAX).0 {
        let (before, highest, left) = under_load(rig)?;
        idle.rounds.push(before);
        loaded.rounds.push(highest);
        after.rounds.push(left / before);
        let (before, open, left) = with_streams(rig)?;
        streams.rounds.push(open);
        closed.rounds.push(left / before);
    }
    Ok(vec![idle, loaded, after, streams, closed])
}

/// MiB before, at the highest, and after.
fn under_load(rig: &Rig) -> anyhow::Result<(f64, f64, f64)> {
    let scratch = Scratch::try_new("memory")?;
    let (_provider, gateway) = start(rig, &scratch, &["--bench"])?;
    let idle = resident(&gateway, SETTLING)?;
    let request = Shape::anthropic().bytes(&gateway.address);
    let load = Load {
        address: &gateway.address,
        request: &request,
    };
    let mut highest = idle;
    thread::scope(|scope| -> anyhow::Result<()> {
        let calls = scope.spawn(|| load.at_rate(CALLS_PER_SECOND, CONNECTIONS, LOADED));
        while !calls.is_finished() {
            highest = highest.max(resident(&gateway, LOOK)?);
        }
        let calls = calls
            .join()
            .map_err(|_| anyhow::anyhow!("the load panicked"))??;
        anyhow::ensure!(!calls.is_empty(), "no call was answered");
        Ok(())
    })?;
    Ok((idle, highest, resident(&gateway, SETTLING)?))
}

/// MiB before, with the streams open, and after they are closed.
fn with_streams(rig: &Rig) -> anyhow::Result<(f64, f64, f64)> {
    let scratch = Scratch::try_new("memory")?;
    let (_provider, gateway) = start(rig, &scratch, &[])?;
    let idle = resident(&gateway, SETTLING)?;
    let shape = Shape::anthropic()
        .streamed()
        .asking("sim:fault stall-mid-stream=3");
    let request = shape.bytes(&gateway.address);
    let mut open = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        let mut connection = Connection::open(&gateway.address)?;
        connection.begin(&request)?;
        open.push(connection);
    }
    let streaming = resident(&gateway, SETTLING)?;
    drop(open);
    Ok((idle, streaming, resident(&gateway, SETTLING)?))
}

fn start(rig: &Rig, scratch: &Scratch, options: &[&str]) -> anyhow::Result<(Server, Server)> {
    let program = rig.program()?;
    let provider = server::provider(program, scratch.path(), options)?;
    let gateway = server::gateway(program, scratch.path(), &provider, Some(super::GOVERNED))?;
    Ok((provider, gateway))
}

/// MiB, after a while.
fn resident(server: &Server, after: Duration) -> anyhow::Result<f64> {
    thread::sleep(after);
    usage::resident_mib(server.id())
}
