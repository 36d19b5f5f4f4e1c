//! Tasks: created, looked at and changed; and the calls that run for them.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use http::StatusCode;
use tidegate_engine::tasks::{
    self as engine, Estimates, NewTask, TaskChange, TaskError, TaskFilter, TaskState, TaskView,
};
use tidegate_observe::record::rfc3339_seconds;
use tidegate_types::TaskId;

use crate::{
    Control,
    access::{Narrowed, Sight, Visitor},
    error::Error,
    limits::{TASK_ROWS_DEFAULT, TASK_ROWS_MAX, TOKENS_MAX},
    read::{Asked, Body, bounded, maybe_name, maybe_text, money, number, word},
    routes::calls::time,
    wire::{
        RunningCall, RunningCalls, Task, TaskChangeRequest, TaskOf, TaskQuery, TaskRequest,
        TaskTree, TaskUsage, Tasks,
    },
};

/// What an id of a task looks like.
const TASK_ID: &str = "the `next` of an earlier answer, task_ and 16 hexadecimal digits";

/// The longest that a task may be expected to take, in seconds: a year.
const SECONDS_MAX: u64 = 366 * 86_400;

impl From<engine::Used> for TaskUsage {
    fn from(it: engine::Used) -> Self {
        Self {
            calls: it.calls,
            input: it.input,
            cache_read: it.cache_read,
            cache_write: it.cache_write,
            output: it.output,
            cost: it.cost.into(),
            notional: it.notional.into(),
            call_ms: it.micros / 1_000,
        }
    }
}

impl From<TaskView> for Task {
    fn from(it: TaskView) -> Self {
        let text = |it: Option<Arc<str>>| it.map(|it| it.to_string());
        Self {
            task: it.name.to_string(),
            id: it.id,
            parent: text(it.parent),
            root: it.root.to_string(),
            depth: it.depth,
            organisation: it.organisation.to_string(),
            user: it.user.to_string(),
            session: text(it.session),
            task_type: text(it.task_type),
            priority: it.priority,
            complexity: it.complexity,
            estimated_tokens: it.estimates.tokens,
            estimated_cost: it.estimates.cost.map(Into::into),
            estimated_seconds: it.estimates.duration.map(|it| it.as_secs()),
            deadline: it.deadline.map(rfc3339_seconds),
            state: it.state.word().to_owned(),
            progress: it.progress,
            note: text(it.note),
            created_before: it.explicit,
            created: rfc3339_seconds(it.created),
            started: it.started.map(rfc3339_seconds),
            ended: it.ended.map(rfc3339_seconds),
            active: rfc3339_seconds(it.active),
            running: it.running,
            own: it.own.into(),
            tree: it.tree.into(),
        }
    }
}

fn state(state: &str) -> Result<TaskState, Error> {
    let wanted = format!("one of {}", TaskState::WORDS.join(", "));
    word("state", state, &wanted)
}

/// Create a task before its first call.
///
/// Type, priority, complexity, deadline and parent hold for the calls that name only the task.
#[utoipa::path(post, path = "/api/v1/tasks", tag = "tasks",
    request_body = TaskRequest, responses((status = 201, body = Task)))]
pub(crate) async fn create_task(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Body(request): Body<TaskRequest>,
) -> Result<(StatusCode, Json<Task>), Error> {
    let tokens = request.estimated_tokens;
    let seconds = request.estimated_seconds;
    let seconds = seconds.map(|it| bounded("estimated_seconds", it, SECONDS_MAX));
    let cost = request.estimated_cost_usd;
    let new = NewTask {
        name: maybe_name("task", request.task)?,
        parent: maybe_text("parent", request.parent)?,
        user: maybe_name("user", request.user)?,
        task_type: maybe_name("task_type", request.task_type)?,
        priority: request.priority,
        complexity: request.complexity,
        estimates: Estimates {
            tokens: tokens
                .map(|it| bounded("estimated_tokens", it, TOKENS_MAX))
                .transpose()?,
            cost: cost.map(|it| money("estimated_cost_usd", it)).transpose()?,
            duration: seconds.transpose()?.map(Duration::from_secs),
        },
        deadline: request
            .deadline
            .as_deref()
            .map(|it| time("deadline", it))
            .transpose()?,
        session: maybe_name("session", request.session)?,
        note: maybe_text("note", request.note)?,
    };
    let principal = allowed(&visitor);
    let task = control.waiting(move |it| it.engine.create_task(&principal, new));
    Ok((StatusCode::CREATED, Json(task.await??.into())))
}

/// Whoever comes without a key acts for itself alone, whatever its role.
fn allowed(visitor: &Visitor) -> tidegate_engine::identity::Principal {
    let mut principal = visitor.principal.clone();
    if !visitor.operates() {
        principal.role = tidegate_types::Role::Caller;
    }
    principal
}

/// Tasks, those that appeared last first.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", params(TaskQuery),
    responses((status = 200, body = Tasks)))]
pub(crate) async fn tasks(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Asked(query): Asked<TaskQuery>,
) -> Result<Json<Tasks>, Error> {
    let Narrowed { organisation, user } = visitor.sight().narrow(query.organisation, query.user)?;
    let limit = query.limit.as_deref();
    let limit = number("limit", limit, TASK_ROWS_DEFAULT, TASK_ROWS_MAX)?;
    let before = query.before.as_deref();
    let roots = query.root.as_deref() == Some("only");
    let filter = TaskFilter {
        organisation,
        user,
        name: None,
        state: query.state.as_deref().map(state).transpose()?,
        session: query.session.map(Into::into),
        root: query.root.filter(|_| !roots).map(Into::into),
        roots,
        before: before.map(|it| word("before", it, TASK_ID)).transpose()?,
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let found = control.waiting(move |it| it.engine.tasks(&filter, limit));
    let (found, more) = found.await?;
    let next: Option<TaskId> = found.last().map(|it| it.id).filter(|_| more);
    Ok(Json(Tasks {
        tasks: found.into_iter().map(Task::from).collect(),
        next,
    }))
}

/// A task with all below it.
#[utoipa::path(get, path = "/api/v1/tasks/{id}", tag = "tasks",
    params(TaskOf, ("id" = String, Path, description = "The task, as calls name it")),
    responses((status = 200, body = TaskTree)))]
pub(crate) async fn task(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    Asked(of): Asked<TaskOf>,
) -> Result<Json<TaskTree>, Error> {
    let filter = meant(&visitor, &name, of)?;
    let tree = control.waiting(move |control| {
        let task = find(control, &visitor, filter)?;
        let tree = control.engine.task_tree(task.id);
        tree.ok_or(Error::Task(TaskError::Unknown(task.name)))
    });
    let tree = tree.await??;
    Ok(Json(TaskTree {
        task: tree.task.into(),
        below: tree.below.into_iter().map(Task::from).collect(),
    }))
}

/// Change a task: start, report, complete, fail or cancel it; its priority and its deadline.
///
/// A cancelled task is called for no more, nor is what is below it; their waiting calls are refused.
/// Callers change their own, operators those of their organisation.
#[utoipa::path(patch, path = "/api/v1/tasks/{id}", tag = "tasks",
    params(TaskOf, ("id" = String, Path, description = "The task, as calls name it")),
    request_body = TaskChangeRequest, responses((status = 200, body = Task)))]
pub(crate) async fn change_task(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    Asked(of): Asked<TaskOf>,
    Body(request): Body<TaskChangeRequest>,
) -> Result<Json<Task>, Error> {
    let filter = meant(&visitor, &name, of)?;
    let note = match request.note {
        Some(note) if note.is_empty() => Some(note),
        note => maybe_text("note", note)?,
    };
    let change = TaskChange {
        state: request.state.as_deref().map(state).transpose()?,
        progress: request.progress,
        note,
        priority: request.priority,
        deadline: request
            .deadline
            .as_deref()
            .map(|it| time("deadline", it))
            .transpose()?,
    };
    let changed = control.waiting(move |control| {
        let task = find(control, &visitor, filter)?;
        let principal = allowed(&visitor);
        let changed = control.engine.change_task(&principal, task.id, &change);
        changed.map_err(Error::Task)
    });
    Ok(Json(changed.await??.into()))
}

fn meant(visitor: &Visitor, name: &str, of: TaskOf) -> Result<TaskFilter, Error> {
    let Narrowed { organisation, user } = visitor.sight().narrow(of.organisation, of.user)?;
    Ok(TaskFilter {
        organisation,
        user,
        name: Some(name.into()),
        ..TaskFilter::default()
    })
}

/// The task of that name: one's own before those of others.
fn find(control: &Control, visitor: &Visitor, filter: TaskFilter) -> Result<TaskView, Error> {
    if filter.user.is_none() {
        let own = TaskFilter {
            organisation: Some(Arc::clone(&visitor.principal.organisation)),
            user: Some(Arc::clone(&visitor.principal.user)),
            ..filter.clone()
        };
        if let Ok(task) = control.engine.find_task(&own) {
            return Ok(task);
        }
    }
    Ok(control.engine.find_task(&filter)?)
}

/// Calls that run now.
#[utoipa::path(get, path = "/api/v1/calls/running", tag = "calls",
    responses((status = 200, body = RunningCalls)))]
pub(crate) async fn running_calls(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<RunningCalls>, Error> {
    let sight: Sight = visitor.sight();
    let running = control.waiting(move |control| {
        control
            .engine
            .running(|organisation, user| sight.sees(organisation, Some(user)))
    });
    let (calls, count) = running.await?;
    let calls = calls.into_iter().map(|it| RunningCall {
        call: it.call,
        organisation: it.organisation.to_string(),
        user: it.user.to_string(),
        task: it.task.to_string(),
        root: it.root.to_string(),
        model: it.model.to_string(),
        platform: it.platform.map(|it| it.to_string()),
        since: rfc3339_seconds(it.since),
        lasts_ms: u64::try_from(it.lasts.as_millis()).unwrap_or(u64::MAX),
        phase: it.phase.to_owned(),
    });
    Ok(Json(RunningCalls {
        calls: calls.collect(),
        count,
    }))
}
