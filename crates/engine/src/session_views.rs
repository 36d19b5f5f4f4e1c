//! A session as its user sees it: the task it is at, what that may still spend, and whether it waits.

use std::sync::Arc;

use tidegate_ledger::{LevelKind, LevelView};

use crate::{Engine, identity::Principal, queues::WaitingView};

/// A session now.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// The root task it is at, where one is known.
    pub task: Option<Arc<str>>,
    /// What is charged for its calls and is in memory: the organisation, its services, the user, the
    /// task.
    pub levels: Vec<LevelView>,
    /// Its calls that wait, platform by platform, those that came first first.
    pub waiting: Vec<WaitingView>,
}

impl Engine {
    /// What is known of somebody's own session. `tasks` are those that its client knows it to be at,
    /// the likeliest first: the first of them that anything was charged to counts, else the turn that
    /// the session is at by itself. Asks memory alone.
    pub fn session(&self, principal: &Principal, name: &str, tasks: &[&str]) -> SessionView {
        let Principal {
            organisation, user, ..
        } = principal;
        let books = self.books.lock().get(organisation).cloned();
        let now = self.clock.now();
        let mut levels = books.map_or(Vec::new(), |it| {
            it.lock().levels(|key| {
                let mine = key.user.is_none() || key.user.as_deref() == Some(&**user);
                mine && key.kind != LevelKind::Task
            })
        });
        levels.retain(|it| it.window.is_none_or(|it| it.end > now));
        let tracked = [&**organisation, "/", &**user, "/session/", name].concat();
        let at = tasks.iter().map(|it| Arc::from(*it));
        let at = at.chain(self.sessions.current_task(&tracked));
        let mut task = None;
        for candidate in at {
            if let Some(level) = self.task_level(principal, &candidate) {
                levels.push(level);
                task = Some(candidate);
                break;
            }
        }
        let waiting = self.waiting(|it| {
            *it.organisation == **organisation && *it.user == **user && it.session == Some(name)
        });
        SessionView {
            task,
            levels,
            waiting,
        }
    }

    fn task_level(&self, principal: &Principal, task: &str) -> Option<LevelView> {
        let books = self.books.lock().get(&principal.organisation).cloned()?;
        let mut levels = books.lock().levels(|key| {
            key.kind == LevelKind::Task
                && key.task.as_deref() == Some(task)
                && key.user.as_deref() == Some(&*principal.user)
        });
        levels.pop()
    }
}
