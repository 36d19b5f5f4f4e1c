//! What is remembered of running conversations: which task they are at, and how many tokens their
//! last answer proved them to have.

use std::{collections::HashMap, hash::BuildHasher as _, sync::Arc};

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tidegate_types::{Monotonic, Timestamp, Tokens};

/// Sessions remembered; the longest unused go first. A team of 1,000 with 50 sessions each.
const SESSIONS_MAX: usize = 65_536;

/// Conversations (main, subagents, side calls) remembered in each session.
const THREADS_MAX: usize = 64;

/// Locks, so that calls of different sessions rarely meet.
const SHARDS: usize = 16;

/// What one conversation's last answer proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Bytes of the request body it answered.
    pub body_bytes: u64,
    /// All its input and output together: what the next request will begin with.
    pub total: Tokens,
    /// When the answer began: a prompt cache lives from here.
    pub at: Monotonic,
}

/// Which conversation of a session a call continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread(u64);

impl Thread {
    /// Told apart by the agent that speaks and by how its conversation begins.
    #[must_use]
    pub fn new(agent: Option<&str>, conversation: u64) -> Self {
        Self(FixedState::default().hash_one((agent, conversation)))
    }
}

#[derive(Debug, Default)]
struct Session {
    task: Option<Arc<str>>,
    threads: Vec<(Thread, Proven)>,
}

/// The table of sessions.
#[derive(Debug)]
pub struct Sessions {
    shards: [Mutex<Generations>; SHARDS],
}

/// Bounded without a list of uses: what was not used while the young filled up is dropped.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Box<str>, Session, FixedState>,
    old: HashMap<Box<str>, Session, FixedState>,
}

impl Generations {
    fn get(&mut self, name: &str) -> &mut Session {
        if !self.young.contains_key(name) {
            let kept = self.old.remove(name).unwrap_or_default();
            if self.young.len() >= SESSIONS_MAX / SHARDS / 2 {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(name.into(), kept);
        }
        self.young.entry(name.into()).or_default()
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Sessions {
    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Session) -> T) -> T {
        act(self.shard(name).lock().get(name))
    }

    fn shard(&self, name: &str) -> &Mutex<Generations> {
        let shard = FixedState::default().hash_one(name) % SHARDS as u64;
        &self.shards[usize::try_from(shard).unwrap_or(0)]
    }

    /// The task that a session is at, named after `name`; a `fresh` turn of its user begins another.
    pub fn task(&self, session: &str, name: &str, fresh: bool, now: Timestamp) -> Arc<str> {
        self.with(session, |it| match &it.task {
            Some(task) if !fresh => Arc::clone(task),
            _ => {
                // The time tells turns apart, also those before and after a restart.
                let task: Arc<str> = format!("{name}@{}", now.0 / 1_000_000).into();
                it.task = Some(Arc::clone(&task));
                task
            }
        })
    }

    /// The task that a session is at by itself, where one began.
    pub fn current_task(&self, session: &str) -> Option<Arc<str>> {
        let shard = self.shard(session).lock();
        let known = shard.young.get(session).or_else(|| shard.old.get(session));
        known.and_then(|it| it.task.clone())
    }

    /// What is known of a conversation.
    pub fn proven(&self, session: &str, thread: Thread) -> Option<Proven> {
        self.with(session, |it| {
            let found = it.threads.iter().find(|(known, _)| *known == thread);
            found.map(|(_, proven)| *proven)
        })
    }

    /// Remembers what an answer proved.
    pub fn learn(&self, session: &str, thread: Thread, proven: Proven) {
        self.with(session, |it| {
            it.threads.retain(|(known, _)| *known != thread);
            if it.threads.len() >= THREADS_MAX {
                it.threads.remove(0);
            }
            it.threads.push((thread, proven));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven(total: u64) -> Proven {
        Proven {
            body_bytes: 10,
            total: Tokens(total),
            at: Monotonic(0),
        }
    }

    #[test]
    fn a_task_lasts_until_the_users_next_turn() {
        let sessions = Sessions::default();
        let at = |fresh, ms: u64| sessions.task("u/s", "s", fresh, Timestamp(ms * 1_000_000));
        assert_eq!(sessions.current_task("u/s"), None);
        assert_eq!(&*at(true, 5), "s@5");
        assert_eq!(sessions.current_task("u/s").as_deref(), Some("s@5"));
        assert_eq!(&*at(false, 6), "s@5");
        assert_eq!(&*at(true, 7), "s@7");
        assert_eq!(
            &*sessions.task("u/other", "other", false, Timestamp(0)),
            "other@0"
        );
    }

    #[test]
    fn conversations_of_a_session_are_told_apart() {
        let sessions = Sessions::default();
        let (main, agent) = (Thread::new(None, 1), Thread::new(Some("a"), 1));
        sessions.learn("s", main, proven(1));
        sessions.learn("s", agent, proven(2));
        sessions.learn("s", main, proven(3));
        assert_eq!(sessions.proven("s", main), Some(proven(3)));
        assert_eq!(sessions.proven("s", agent), Some(proven(2)));
        assert_eq!(sessions.proven("s", Thread::new(None, 2)), None);
        assert_eq!(sessions.proven("t", main), None);
    }

    #[test]
    fn memory_is_bounded_and_the_used_stays() {
        let sessions = Sessions::default();
        let thread = Thread::new(None, 1);
        for at in 0..(2 * SESSIONS_MAX as u64) {
            sessions.learn(&format!("s{at}"), thread, proven(at));
            assert!(at == 0 || sessions.proven("kept", thread).is_some());
            sessions.learn("kept", thread, proven(0));
        }
        let held: usize = sessions
            .shards
            .iter()
            .map(|it| {
                let it = it.lock();
                it.young.len() + it.old.len()
            })
            .sum();
        assert!(held <= SESSIONS_MAX + SHARDS, "{held}");
    }
}
