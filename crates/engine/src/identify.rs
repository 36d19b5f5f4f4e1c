//! From headers and body to a call: whose, for which task, how much it matters.

use std::{borrow::Cow, str::FromStr, sync::Arc, time::Duration};

use tidegate_observe::{calls::CallRecord, trace::TraceParent};
use tidegate_providers::RequestFacts;
use tidegate_types::{Complexity, Priority, RequestClass, UnknownWord};

use crate::{
    Engine,
    call::{Identified, Moment, Refusals, Signals},
    identity::Principal,
    sessions::Thread,
    tasks::{Called, Ongoing, Place, TaskError},
};

/// Characters of a name that a client may give a task, session or type.
const NAME_MAX: usize = 200;

/// A header of ours that can't be understood. The call is refused rather than governed by a guess.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// A word that is none of those it can be.
    #[error("header `{header}`: {problem}")]
    Word {
        /// Which header.
        header: &'static str,
        /// The value and those there are.
        problem: UnknownWord,
    },
    /// Empty or too long.
    #[error("header `{header}` must have 1 to {NAME_MAX} characters, and has {found}")]
    Length {
        /// Which header.
        header: &'static str,
        /// Its length.
        found: usize,
    },
    /// Not a time that a call may wait.
    #[error("header `{header}` must be a number of seconds from 0 to {}", MAX_WAIT.as_secs())]
    Seconds {
        /// Which header.
        header: &'static str,
    },
    /// The task that it is for.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// The longest that a call may say it waits: no connection is held for longer.
const MAX_WAIT: Duration = Duration::from_hours(1);

impl Engine {
    /// Says whose call it is and what it belongs to.
    #[expect(clippy::too_many_arguments, reason = "each comes from another phase")]
    pub fn identify(
        &self,
        mut record: Box<CallRecord>,
        principal: Principal,
        signals: &Signals<'_>,
        facts: RequestFacts,
        now: Moment,
    ) -> Result<Identified, (Box<CallRecord>, SignalError)> {
        let signals = &without_empty_names(signals);
        let said = match Said::of(signals) {
            Ok(said) => said,
            Err(error) => return Err((record, error)),
        };
        let session = said.session.or(facts.session.as_deref());
        let class = class_of(signals);
        // Sessions of different users never meet, whatever they are called.
        let owner = [&*principal.organisation, "/", &*principal.user].concat();
        let nameless = || format!("conversation-{:016x}", facts.conversation).into();
        let name = session.map_or_else(nameless, Cow::Borrowed);
        let tracked = [&*owner, "/session/", &*name].concat();
        let speaks = matches!(class, RequestClass::Main | RequestClass::Unknown);
        let begins = !facts.ends_in_tool_result && !signals.counted;
        let fresh = speaks && signals.agent.is_none() && begins;
        let turn = || self.sessions.task(&tracked, &name, fresh, now.wall);
        let task = task(signals, &said, turn);
        record.organisation = Arc::clone(&principal.organisation);
        record.user = Arc::clone(&principal.user);
        record.key = principal.key;
        record.keyless = principal.key.is_none();
        record.session = session.map(Arc::from);
        record.root_task = Some(task.root);
        record.task = Some(task.own);
        record.parent = task.parent;
        record.task_type = said.task_type.map(Arc::from);
        record.class = class;
        record.complexity = said.complexity;
        record.model_asked = facts.model.as_str().into();
        record.stream = facts.stream;
        record.max_tokens_asked = facts
            .output_cap
            .as_ref()
            .map(|it| tidegate_types::Tokens(it.value));
        self.trace(&mut record, signals.traceparent);
        // From here on everything speaks of them as the record does: books, journal, logs, metrics.
        record.redact(&self.settings.load().redactor);
        let ongoing = match self.begin(&mut record, said.task.is_some(), said.priority, now) {
            Ok(ongoing) => ongoing,
            Err(error) => return Err((record, SignalError::Task(error))),
        };
        prioritise(&mut record, &principal, &ongoing, said.priority);
        if record.task_type.is_none() {
            record.task_type.clone_from(&principal.default_task_type);
        }
        let thread = Thread::new(signals.agent, facts.conversation);
        Ok(Identified {
            first_sent: None,
            proven: self.sessions.proven(&tracked, thread),
            tracked: tracked.into(),
            record,
            principal,
            facts,
            metered: !signals.counted,
            thread,
            platform: said.platform.map(Arc::from),
            max_wait: said.max_wait,
            ongoing,
            refused: Refusals::default(),
        })
    }

    /// Counts a call to its task, and takes over what was said when that was created.
    fn begin(
        &self,
        record: &mut CallRecord,
        named: bool,
        priority: Option<Priority>,
        now: Moment,
    ) -> Result<Ongoing, TaskError> {
        let (Some(task), Some(root)) = (record.task.take(), record.root_task.take()) else {
            unreachable!("each call has a task, and was given it just now")
        };
        let place = match (&record.parent, named) {
            (Some(parent), true) => Place::Below(parent),
            (Some(parent), false) => Place::Agent {
                parent,
                root: &root,
            },
            (None, _) => Place::Named,
        };
        let called = Called {
            call: record.id,
            organisation: &record.organisation,
            user: &record.user,
            task: &task,
            place,
            session: record.session.as_ref(),
            model: &record.model_asked,
            priority,
            wall: now.wall,
            mono: now.mono,
        };
        let ongoing = self.tasks.begin(&called)?;
        let known = ongoing.task();
        record.root_task = Some(Arc::clone(&known.root().name));
        record.parent = known.parent_name().cloned();
        let (task_type, complexity) = known.said();
        if record.task_type.is_none() {
            record.task_type = task_type;
        }
        record.complexity = record.complexity.or(complexity);
        record.deadline = known.deadline();
        record.task = Some(task);
        Ok(ongoing)
    }

    fn trace(&self, record: &mut CallRecord, traceparent: Option<&str>) {
        let (high, low) = self.random_bits(record.id.raw());
        let parent = traceparent.and_then(TraceParent::parse);
        let here = match parent {
            Some(parent) => parent.child(low),
            None => TraceParent::root(u128::from(high) << 64 | u128::from(low), low),
        };
        record.trace_id = Some(here.trace_id);
        record.span_id = Some(here.span_id);
        record.parent_span_id = parent.map(|it| it.span_id);
    }
}

/// The priority of a call: what it claims, else its task's, its class's, its key's.
fn prioritise(
    record: &mut CallRecord,
    principal: &Principal,
    ongoing: &Ongoing,
    claimed: Option<Priority>,
) {
    let class = record.class;
    record.priority = ongoing
        .task()
        .priority()
        .or((class != RequestClass::Unknown).then(|| class.default_priority()))
        .or(principal.default_priority)
        .unwrap_or(class.default_priority());
    if record.priority > principal.highest_priority {
        record.priority = principal.highest_priority;
        if claimed.is_some() {
            let warning = format!("priority lowered to {}, the key's highest", record.priority);
            record.warnings.push(warning.into());
        }
    }
}

/// The task of a call: the one it names, else its prompt, else the turn its session is at.
fn task(signals: &Signals<'_>, said: &Said<'_>, turn: impl FnOnce() -> Arc<str>) -> Task {
    if let Some(own) = said.task {
        let own: Arc<str> = own.into();
        let parent: Option<Arc<str>> = said.parent_task.map(Arc::from);
        return Task {
            root: Arc::clone(&own),
            own,
            parent,
        };
    }
    let agent = signals.agent.map(shortened);
    let root = signals.prompt.map_or_else(turn, shortened);
    let parent = match (&agent, signals.parent_agent) {
        (None, _) => None,
        (Some(_), Some(parent)) => Some(shortened(parent)),
        (Some(_), None) => Some(Arc::clone(&root)),
    };
    Task {
        own: agent.unwrap_or_else(|| Arc::clone(&root)),
        root,
        parent,
    }
}

/// What our own headers say, in the forms they must have.
struct Said<'a> {
    session: Option<&'a str>,
    task: Option<&'a str>,
    parent_task: Option<&'a str>,
    task_type: Option<&'a str>,
    platform: Option<&'a str>,
    complexity: Option<Complexity>,
    priority: Option<Priority>,
    max_wait: Option<Duration>,
}

impl<'a> Said<'a> {
    fn of(signals: &Signals<'a>) -> Result<Self, SignalError> {
        let task = checked("x-tidegate-task", signals.task)?;
        let parent_task = match task {
            Some(_) => checked("x-tidegate-parent-task", signals.parent_task)?,
            None => None,
        };
        Ok(Self {
            session: checked("x-tidegate-session", signals.session)?,
            task,
            parent_task,
            task_type: checked("x-tidegate-task-type", signals.task_type)?,
            platform: checked("x-tidegate-platform", signals.platform)?,
            complexity: word("x-tidegate-complexity", signals.complexity)?,
            priority: word("x-tidegate-priority", signals.priority)?,
            max_wait: seconds("x-tidegate-max-wait", signals.max_wait)?,
        })
    }
}

struct Task {
    own: Arc<str>,
    root: Arc<str>,
    parent: Option<Arc<str>>,
}

/// What the client says the request is for. A class of a newer client is no error: it is unknown.
fn class_of(signals: &Signals<'_>) -> RequestClass {
    let said = signals.class.and_then(|it| it.parse().ok());
    said.unwrap_or(if signals.agent.is_some() {
        RequestClass::Subagent
    } else {
        RequestClass::Unknown
    })
}

fn checked<'a>(
    header: &'static str,
    value: Option<&'a str>,
) -> Result<Option<&'a str>, SignalError> {
    match value.map(str::trim) {
        Some(it) if it.is_empty() || it.len() > NAME_MAX => Err(SignalError::Length {
            header,
            found: it.len(),
        }),
        it => Ok(it),
    }
}

fn word<T: FromStr<Err = UnknownWord>>(
    header: &'static str,
    value: Option<&str>,
) -> Result<Option<T>, SignalError> {
    let word = |it: &str| {
        it.trim()
            .parse()
            .map_err(|problem| SignalError::Word { header, problem })
    };
    value.map(word).transpose()
}

fn seconds(header: &'static str, value: Option<&str>) -> Result<Option<Duration>, SignalError> {
    let Some(value) = value else { return Ok(None) };
    let seconds = value.trim().parse().ok();
    let seconds = seconds.and_then(|it| Duration::try_from_secs_f64(it).ok());
    let seconds = seconds.filter(|it| *it <= MAX_WAIT);
    seconds.map(Some).ok_or(SignalError::Seconds { header })
}

/// Of the names that the client's program makes, those that are empty name nothing.
fn without_empty_names<'a>(signals: &Signals<'a>) -> Signals<'a> {
    let named = |it: Option<&'a str>| it.map(str::trim).filter(|it| !it.is_empty());
    Signals {
        agent: named(signals.agent),
        parent_agent: named(signals.parent_agent),
        prompt: named(signals.prompt),
        ..*signals
    }
}

/// Names that the client's program makes are not refused for their length.
fn shortened(name: &str) -> Arc<str> {
    match name.char_indices().nth(NAME_MAX) {
        Some((end, _)) => name[..end].into(),
        None => name.into(),
    }
}
