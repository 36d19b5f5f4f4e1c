//! How long we wait for things, each with its reason.

use std::time::Duration;

/// A server of ours answers within 100 ms of its start on the machines we promise that for; a debug build on a machine that is
/// compiling beside it is two orders slower.
pub(crate) const SERVER_READY: Duration = Duration::from_secs(20);

/// `serve` lets streams run for 30 s after SIGTERM; what is still there after that is a defect.
pub(crate) const SERVER_STOP: Duration = Duration::from_secs(40);

/// The longest client program (Claude Code's, with its retries) takes about two minutes on two cores, and with `--slow` waits for
/// twelve more.
pub(crate) const CLIENT_PROGRAM: Duration = Duration::from_mins(20);

/// `cargo test --workspace` of a cold cache on two cores takes about ten minutes.
pub(crate) const CARGO: Duration = Duration::from_mins(40);

/// The largest package, Claude Code, is 100 MB; a package client's own limit ends a dead connection before this.
pub(crate) const INSTALL: Duration = Duration::from_mins(15);
