//! The tasks of those who ask before they act.

use std::sync::Arc;

use tidegate_types::Priority;

use super::{AdmissionAsk, AdmissionError};
use crate::{
    Engine,
    call::Moment,
    identity::Principal,
    tasks::{Called, Place, Task},
};

impl Engine {
    /// The task that it is for, which appears if it is not known.
    pub(super) fn admission_task(
        &self,
        organisation: &Arc<str>,
        user: &Arc<str>,
        ask: &AdmissionAsk,
        now: Moment,
    ) -> Result<Option<Arc<Task>>, AdmissionError> {
        let Some(name) = ask.task.as_deref() else {
            return Ok(None);
        };
        let name = self.without_secrets(name);
        let parent = ask.parent_task.as_deref();
        let parent = parent.map(|it| self.without_secrets(it));
        let nothing: Arc<str> = "".into();
        let called = Called {
            call: tidegate_types::CallId::from_raw(0),
            organisation,
            user,
            task: &name,
            place: parent.as_ref().map_or(Place::Named, Place::Below),
            session: None,
            model: &nothing,
            priority: ask.priority,
            wall: now.wall,
            mono: now.mono,
        };
        Ok(Some(self.tasks.asked(&called)?))
    }

    pub(super) fn admission_priority(
        principal: &Principal,
        ask: &AdmissionAsk,
        task: Option<&Arc<Task>>,
    ) -> Priority {
        let inherited = || task.and_then(Task::priority);
        let wanted = ask.priority.or_else(inherited);
        let wanted = wanted.or(principal.default_priority);
        wanted
            .unwrap_or(Priority::High)
            .min(principal.highest_priority)
    }
}
