//! The one place here that reads the clock: benches measure time itself.

use std::time::Instant;

#[expect(
    clippy::disallowed_methods,
    reason = "durations of programs are measured, no decision depends on them"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
