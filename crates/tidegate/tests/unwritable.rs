//! A disk that takes nothing more, and takes again.

use rustix::process::{Pid, Resource, Rlimit};

use crate::{
    wire::{OWN_KEY, Reply, get},
    world::{Gateway, Program, World, until},
};

/// Lets a process write no file beyond this size; `None` for any.
fn limit_files(process: Pid, bytes: Option<u64>) {
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    rustix::process::prlimit(Some(process), Resource::Fsize, limit).unwrap();
}

/// A gateway to whom a file that can't grow is an error, and not its end.
fn serve(world: &World) -> Gateway {
    let tidegate = env!("CARGO_BIN_EXE_tidegate");
    let mut command = world.command("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" serve", tidegate]);
    Gateway::greeting(Program::start(command))
}

fn ready(gateway: &Gateway) -> Reply {
    get(gateway.address, "/readyz", &[])
}

/// A call that an enforced limit binds.
fn bound(gateway: &Gateway) -> Reply {
    let task = ("x-tidegate-task", "bound");
    gateway.call(&[OWN_KEY, task], "sim:say hello")
}

/// A call that limits only watch.
fn watched(gateway: &Gateway) -> Reply {
    gateway.call(&[OWN_KEY], "sim:say hello")
}

#[test]
fn enforced_limits_refuse_while_nothing_can_be_written_and_watched_ones_pass() {
    let (world, _provider) = World::with_provider();
    let gateway = serve(&world);
    world.said("budget set task 5 --task bound --organisation local");
    assert_eq!(ready(&gateway).status, 200);
    assert_eq!(bound(&gateway).status, 200);
    // Who lists calls gets those that are stored: nothing is left that would have to be tried again.
    world.said("calls");
    limit_files(gateway.program.pid(), Some(0));

    let refused = bound(&gateway);
    assert_eq!(refused.status, 429, "{refused:?}");
    let why = refused.header("anthropic-ratelimit-unified-overage-disabled-reason");
    assert_eq!(why, Some("fetch_error"));
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    let passed = watched(&gateway);
    assert_eq!(passed.status, 200, "{passed:?}");
    until("it says that it is not ready", || {
        ready(&gateway).status == 503
    });
    let reasons = ready(&gateway).json();
    assert_eq!(
        reasons["reasons"][0]["code"], "ledger_unwritable",
        "{reasons}"
    );
    let status = world.said("status");
    assert!(
        status.contains("NOT READY: the ledger can't be written"),
        "{status}"
    );
    assert!(status.contains("what to do: free space"), "{status}");
    let metrics = get(gateway.address, "/metrics", &[]).text;
    let unbooked = metrics
        .lines()
        .find(|it| it.starts_with("tidegate_ledger_unbooked_calls_total"));
    assert!(
        unbooked.is_some_and(|it| it.ends_with(" 1")),
        "{unbooked:?}"
    );
    // It is so for as long as it is so.
    assert_eq!(bound(&gateway).status, 429);

    // Nobody calls, and nothing waits to be written: it finds out by itself.
    world.said("calls");
    limit_files(gateway.program.pid(), None);
    until("it is ready again", || ready(&gateway).status == 200);
    let again = bound(&gateway);
    assert_eq!(again.status, 200, "{again:?}");
    let answer = gateway.program.stop();
    assert_eq!(answer.code, 0, "{answer:?}");
    let verified = world.said("ledger verify");
    assert!(verified.contains("nothing is wrong"), "{verified}");
}
