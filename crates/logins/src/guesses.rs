//! How often somebody has typed a code that there is not.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tidegate_types::Monotonic;

/// Wrong codes that one user may type within [`WITHIN`]: more than anybody mistypes.
const WRONG_MAX: usize = 10;

/// As long as a code lives.
const WITHIN: Duration = crate::LIFE;

/// Wrong codes that are remembered, of all users together: a hundred users who have each typed as
/// many as they may. Beyond, the oldest is forgotten.
const REMEMBERED_MAX: usize = 1_000;

/// Wrong codes of the last minutes, oldest first, by whose they were.
#[derive(Debug, Default)]
pub(crate) struct Guesses(VecDeque<(Monotonic, Arc<str>)>);

impl Guesses {
    /// Whether somebody may try a code; if not, after how long.
    pub(crate) fn allow(&mut self, user: &str, now: Monotonic) -> Result<(), Duration> {
        while let Some((at, _)) = self.0.front()
            && now.since(*at) >= WITHIN
        {
            self.0.pop_front();
        }
        let own = || self.0.iter().filter(|(_, it)| **it == *user);
        let count = own().count();
        match own().nth(count.saturating_sub(WRONG_MAX)) {
            Some((at, _)) if count >= WRONG_MAX => Err(WITHIN.saturating_sub(now.since(*at))),
            _ => Ok(()),
        }
    }

    /// Remembers a wrong one.
    pub(crate) fn wrong(&mut self, user: &str, now: Monotonic) {
        if self.0.len() >= REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((now, user.into()));
    }
}
