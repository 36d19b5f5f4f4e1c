//! `tidegate task`.

use clap::{Args, Subcommand};
use tidegate_control::wire::{Task, TaskChangeRequest, TaskRequest, TaskTree, Tasks, Usd};
use tidegate_types::{Complexity, NanoUsd, Priority};

use super::{
    Client, Format, Said,
    client::{escaped, query},
    status::spoken,
    table::{Table, Tone, grouped, line, plain, toned},
};

/// Options of `task`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct TaskArgs {
    /// What to do; without it, tasks are listed
    #[command(subcommand)]
    pub(crate) command: Option<TaskCommand>,
    /// Which to list
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// Which tasks to list.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ListArgs {
    /// Only those that are this far: pending, running, completed, failed, cancelled
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// Only this user's
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only those of this session
    #[arg(long)]
    pub(crate) session: Option<String>,
    /// Only those of the tree of this root
    #[arg(long)]
    pub(crate) root: Option<String>,
    /// Subtasks too
    #[arg(long)]
    pub(crate) all: bool,
    /// Only this organisation's
    #[arg(long)]
    pub(crate) organisation: Option<String>,
    /// How many [default: 20]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: Option<u16>,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

/// What can be done with tasks.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// The tasks that appeared last
    List(ListArgs),
    /// A task with all below it
    Show(Named),
    /// Create one before its first call, which names it in the header x-tidegate-task
    Create(Box<CreateArgs>),
    /// Say that work on it has begun
    Start(Word),
    /// Say how much of it is done
    Progress {
        /// The task
        task: String,
        /// In percent, from 0 to 100
        #[arg(value_parser = clap::value_parser!(u64).range(0..=100))]
        percent: u64,
        /// What is said of it
        #[command(flatten)]
        said: SaidArgs,
    },
    /// Say that it is done: its slot is free for another
    Complete(Word),
    /// Say that it went wrong
    Fail(Word),
    /// Call it off, with all below it: no further call is made for them
    Cancel(Word),
}

/// Which task.
#[derive(Clone, Debug, Args)]
pub(crate) struct Named {
    /// The task, as calls name it
    pub(crate) task: String,
    /// Whose, where several users have one of the name
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

/// A task and a word on it.
#[derive(Clone, Debug, Args)]
pub(crate) struct Word {
    /// The task, as calls name it
    pub(crate) task: String,
    /// What is said of it
    #[command(flatten)]
    pub(crate) said: SaidArgs,
}

/// What is said when a task changes.
#[derive(Clone, Debug, Args)]
pub(crate) struct SaidArgs {
    /// A word on it
    #[arg(long)]
    pub(crate) note: Option<String>,
    /// Whose, where several users have one of the name
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Options of `task create`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    /// What calls will name it [default: a name is given]
    pub(crate) task: Option<String>,
    /// The task above it
    #[arg(long)]
    pub(crate) parent: Option<String>,
    /// What kind of task it is
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) task_type: Option<String>,
    /// How much it matters: low, medium, high or critical [default: as much as the task above it]
    #[arg(long)]
    pub(crate) priority: Option<Priority>,
    /// How hard it is
    #[arg(long)]
    pub(crate) complexity: Option<Complexity>,
    /// Tokens that it will probably take
    #[arg(long, value_name = "TOKENS")]
    pub(crate) tokens: Option<u64>,
    /// What it will probably cost, in dollars
    #[arg(long, value_name = "DOLLARS")]
    pub(crate) cost: Option<NanoUsd>,
    /// How long it will probably take, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) seconds: Option<u64>,
    /// Until when it is wanted: 2026-07-14T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) deadline: Option<String>,
    /// The session that it is part of
    #[arg(long)]
    pub(crate) session: Option<String>,
    /// What is said of it
    #[command(flatten)]
    pub(crate) said: SaidArgs,
}

pub(super) fn answer(args: &TaskArgs, client: &Client) -> anyhow::Result<Said> {
    let state = |word: &Word, state: &str| {
        let change = TaskChangeRequest {
            state: Some(state.to_owned()),
            ..TaskChangeRequest::default()
        };
        change_task(&word.task, change, &word.said, client)
    };
    match &args.command {
        None => list(&args.list, client),
        Some(TaskCommand::List(args)) => list(args, client),
        Some(TaskCommand::Show(named)) => tree(named, client),
        Some(TaskCommand::Create(args)) => create(args, client),
        Some(TaskCommand::Progress {
            task,
            percent,
            said,
        }) => {
            let change = TaskChangeRequest {
                progress: Some(*percent),
                ..TaskChangeRequest::default()
            };
            change_task(task, change, said, client)
        }
        Some(TaskCommand::Start(word)) => state(word, "running"),
        Some(TaskCommand::Complete(word)) => state(word, "completed"),
        Some(TaskCommand::Fail(word)) => state(word, "failed"),
        Some(TaskCommand::Cancel(word)) => state(word, "cancelled"),
    }
}

fn list(args: &ListArgs, client: &Client) -> anyhow::Result<Said> {
    let limit = args.limit.unwrap_or(20).to_string();
    let roots = (!args.all).then_some("only");
    let path = query(
        "/api/v1/tasks",
        &[
            ("organisation", args.organisation.as_deref()),
            ("user", args.user.as_deref()),
            ("state", args.state.as_deref()),
            ("session", args.session.as_deref()),
            ("root", args.root.as_deref().or(roots)),
            ("limit", Some(&limit)),
        ],
    );
    if args.format.json {
        return Said::json(&client.get::<serde_json::Value>(&path)?);
    }
    Ok(Said::fine(show(&client.get(&path)?)))
}

fn tree(named: &Named, client: &Client) -> anyhow::Result<Said> {
    let path = path(&named.task, named.user.as_deref());
    if named.format.json {
        return Said::json(&client.get::<serde_json::Value>(&path)?);
    }
    Ok(Said::fine(show_tree(&client.get(&path)?)))
}

fn path(task: &str, user: Option<&str>) -> String {
    query(
        &format!("/api/v1/tasks/{}", escaped(task)),
        &[("user", user)],
    )
}

fn create(args: &CreateArgs, client: &Client) -> anyhow::Result<Said> {
    let request = TaskRequest {
        task: args.task.clone(),
        parent: args.parent.clone(),
        user: args.said.user.clone(),
        task_type: args.task_type.clone(),
        priority: args.priority,
        complexity: args.complexity,
        estimated_tokens: args.tokens,
        estimated_cost_usd: args.cost.map(Usd),
        estimated_seconds: args.seconds,
        deadline: args.deadline.clone(),
        session: args.session.clone(),
        note: args.said.note.clone(),
    };
    let task: Task = client.post("/api/v1/tasks", &request)?;
    told(&task, args.said.format)
}

fn change_task(
    task: &str,
    change: TaskChangeRequest,
    said: &SaidArgs,
    client: &Client,
) -> anyhow::Result<Said> {
    let change = TaskChangeRequest {
        note: said.note.clone(),
        ..change
    };
    let changed: Task = client.patch(&path(task, said.user.as_deref()), &change)?;
    told(&changed, said.format)
}

fn told(task: &Task, format: Format) -> anyhow::Result<Said> {
    if format.json {
        return Said::json(task);
    }
    Ok(Said::fine(format!(
        "task {} is {}\n",
        plain(&task.task),
        far(task)
    )))
}

/// How far it is, in words.
fn far(task: &Task) -> String {
    let state = match task.state.as_str() {
        "failed" | "cancelled" => toned(&task.state, Tone::Bad),
        "running" => toned(&task.state, Tone::Good),
        state => plain(state),
    };
    match task.progress {
        0 | 100 => state,
        percent => format!("{state}, {percent} %"),
    }
}

/// Tasks for people.
pub(super) fn show(tasks: &Tasks) -> String {
    let mut shown = table(tasks.tasks.iter());
    if tasks.tasks.is_empty() {
        return "no task is known: calls make them appear, and `tidegate task create`\n".to_owned();
    }
    if tasks.next.is_some() {
        line(&mut shown, "there are more: see --limit");
    }
    shown
}

/// A tree for people.
pub(super) fn show_tree(tree: &TaskTree) -> String {
    let all = std::iter::once(&tree.task).chain(&tree.below);
    let mut shown = table(all);
    for it in std::iter::once(&tree.task).chain(&tree.below) {
        if let Some(note) = &it.note {
            line(&mut shown, &format!("{}: {}", plain(&it.task), plain(note)));
        }
    }
    details(&mut shown, &tree.task);
    shown
}

fn details(out: &mut String, task: &Task) {
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            line(out, &format!("{name}: {}", plain(&value)));
        }
    };
    fact("session", task.session.clone());
    fact("type", task.task_type.clone());
    fact("complexity", task.complexity.map(|it| it.to_string()));
    fact("deadline", task.deadline.clone());
    let estimates = [
        task.estimated_tokens
            .map(|it| format!("{} tokens", grouped(it))),
        task.estimated_cost
            .as_ref()
            .map(|it| NanoUsd::from(it).to_string()),
        task.estimated_seconds.map(spoken),
    ];
    let estimates: Vec<String> = estimates.into_iter().flatten().collect();
    fact(
        "expected",
        (!estimates.is_empty()).then(|| estimates.join(", ")),
    );
}

fn table<'a>(tasks: impl Iterator<Item = &'a Task>) -> String {
    let mut table = Table::new(&[
        "task",
        "state",
        "user",
        "priority",
        ">calls",
        ">running",
        ">tokens",
        ">cost",
        ">time",
        "last active",
    ]);
    for it in tasks {
        let used = &it.tree;
        let tokens = used.input + used.cache_read + used.cache_write + used.output;
        table.row([
            format!("{}{}", "  ".repeat(it.depth as usize), plain(&it.task)),
            far(it),
            plain(&it.user),
            it.priority.map_or_else(String::new, |it| it.to_string()),
            grouped(used.calls),
            grouped(it.running),
            grouped(tokens),
            NanoUsd::from(&used.cost).to_string(),
            spoken(used.call_ms / 1_000),
            plain(&it.active),
        ]);
    }
    table.show()
}

#[cfg(test)]
mod tests;
