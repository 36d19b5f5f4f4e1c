//! Penalties over a restart: a program that is started anew forgives nobody.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_types::{Monotonic, Priority};

use super::{Pool, nanos};
use crate::pacing::{Pace, Sentence, Share};

/// One penalty, to be kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPenalty {
    /// Whose.
    pub of: Penalised,
    /// How much longer it lasts.
    pub left: Duration,
    /// How long until the next call may start; nothing where one may.
    pub pause: Duration,
    /// The fair share of the flow as it was when the penalty began: `part` in `out_of`.
    pub part: u32,
    /// See `part`.
    pub out_of: u32,
}

/// Who refills at half speed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Penalised {
    /// A whole class.
    Class(Priority),
    /// A user of an organisation.
    User {
        /// Which organisation.
        organisation: String,
        /// Which user.
        name: String,
    },
}

impl Pool {
    /// The penalties in force at `now`, for [`Self::restore_penalties`]. Takes as long as there are
    /// penalties, however many users there are. What was used towards one is not saved.
    pub fn export_penalties(&self, now: Monotonic) -> Vec<SavedPenalty> {
        let now = self.at(now);
        let classes = Priority::ALL.iter().filter_map(|class| {
            let pace = &self.classes[class.index()].pace;
            saved(Penalised::Class(*class), pace, now)
        });
        let users = self.users.penalised(now).filter_map(|(user, _)| {
            let of = Penalised::User {
                organisation: user.organisation.to_string(),
                name: user.name.to_string(),
            };
            saved(of, &user.pace, now)
        });
        classes.chain(users).collect()
    }

    /// Goes on with penalties that an earlier run saved, less the wall-clock time that has passed
    /// since: zero where the clock stepped back. Meant for a new pool, before its first call.
    pub fn restore_penalties(&mut self, saved: &[SavedPenalty], elapsed: Duration, now: Monotonic) {
        let now = self.clock(now);
        for it in saved {
            let sentence = Sentence {
                left: nanos(it.left.saturating_sub(elapsed)),
                pause: nanos(it.pause.saturating_sub(elapsed)),
                share: Share {
                    part: it.part.max(1),
                    of: it.out_of.max(1),
                },
            };
            match &it.of {
                Penalised::Class(class) => self.classes[class.index()].pace.resume(sentence, now),
                Penalised::User { organisation, name } => {
                    let slot = self.users.intern(organisation, name);
                    if let Some(user) = self.users.user_mut(slot) {
                        user.pace.resume(sentence, now);
                    }
                    self.users.note_penalty(slot, now);
                }
            }
        }
    }
}

fn saved(of: Penalised, pace: &Pace, now: u64) -> Option<SavedPenalty> {
    let Sentence { left, pause, share } = pace.sentence(now)?;
    Some(SavedPenalty {
        of,
        left: Duration::from_nanos(left),
        pause: Duration::from_nanos(pause),
        part: share.part,
        out_of: share.of,
    })
}
