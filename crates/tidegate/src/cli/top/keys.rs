//! Where the user is on the screen, and what the keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tidegate_types::{ApprovalId, Priority};

use super::{
    Tone,
    panels::{Panel, rows},
    snapshot::Snapshot,
};

/// What the last line says where nothing else is to be said.
const HELP: &str = "q quit · tab panel · ↑↓ row · waiting: p promote, x cancel · a approve, d deny";

/// Something that the gateway is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A waiting call goes first.
    Promote(String),
    /// A waiting call waits no more.
    Cancel(String),
    /// A soft limit may be passed.
    Approve(ApprovalId),
    /// It may not.
    Deny(ApprovalId),
}

/// What a key leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The view goes on.
    Stay,
    /// The view is left.
    Quit,
    /// The gateway is told.
    Do(Deed),
}

/// Where the user is.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) panel: Panel,
    rows: [usize; Panel::ALL.len()],
    /// What is done if the user says yes, and the question.
    asking: Option<(Deed, String)>,
    /// What became of the last deed, and whether it was done.
    said: Option<(String, bool)>,
}

impl Default for View {
    fn default() -> Self {
        Self {
            panel: Panel::Queue,
            rows: [0; Panel::ALL.len()],
            asking: None,
            said: None,
        }
    }
}

impl View {
    fn place(panel: Panel) -> usize {
        Panel::ALL.iter().position(|it| *it == panel).unwrap_or(0)
    }

    /// The row that is chosen in a panel.
    pub(super) fn row(&self, panel: Panel, snapshot: &Snapshot) -> usize {
        let count = rows(panel, snapshot).lines.len();
        self.rows[Self::place(panel)].min(count.saturating_sub(1))
    }

    /// The last line: a question, what became of something, or which keys there are.
    pub(super) fn foot(&self) -> (String, Tone) {
        match (&self.asking, &self.said) {
            (Some((_, question)), _) => (format!("{question} y/n"), Tone::Warning),
            (None, Some((said, true))) => (said.clone(), Tone::Good),
            (None, Some((said, false))) => (said.clone(), Tone::Bad),
            (None, None) => (HELP.to_owned(), Tone::Plain),
        }
    }

    /// Says what became of a deed.
    pub(super) fn told(&mut self, became: Result<String, String>) {
        self.said = Some(match became {
            Ok(done) => (done, true),
            Err(refused) => (refused.lines().next().unwrap_or_default().to_owned(), false),
        });
    }

    /// A key is pressed.
    pub(super) fn press(&mut self, key: KeyEvent, snapshot: &Snapshot) -> Step {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if key.code == KeyCode::Char('c') && control {
            return Step::Quit;
        }
        self.said = None;
        if let Some((deed, _)) = self.asking.take() {
            return match key.code {
                KeyCode::Char('y' | 'Y') => Step::Do(deed),
                _ => Step::Stay,
            };
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Step::Quit,
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(Panel::ALL.len() - 1),
            KeyCode::Down | KeyCode::Char('j') => {
                let at = self.row(self.panel, snapshot);
                self.rows[Self::place(self.panel)] = at + 1;
            }
            KeyCode::Up | KeyCode::Char('k') => {
                let at = self.row(self.panel, snapshot);
                self.rows[Self::place(self.panel)] = at.saturating_sub(1);
            }
            KeyCode::Char('p') => self.ask_of_call(snapshot, "promote", Deed::Promote),
            KeyCode::Char('x') => self.ask_of_call(snapshot, "cancel", Deed::Cancel),
            KeyCode::Char('a') => self.ask_of_approval(snapshot, "approve", Deed::Approve),
            KeyCode::Char('d') => self.ask_of_approval(snapshot, "deny", Deed::Deny),
            _ => {}
        }
        Step::Stay
    }

    fn turn(&mut self, by: usize) {
        let next = (Self::place(self.panel) + by) % Panel::ALL.len();
        self.panel = Panel::ALL[next];
    }

    fn ask_of_call(&mut self, snapshot: &Snapshot, verb: &str, deed: fn(String) -> Deed) {
        self.panel = Panel::Queue;
        let at = self.row(Panel::Queue, snapshot);
        let call = snapshot.queues.as_ref().and_then(|it| it.waiting.get(at));
        match call {
            Some(it) => {
                let to = match verb {
                    "promote" => format!(" to {}", Priority::Critical),
                    _ => String::new(),
                };
                let question = format!(
                    "{verb} {} of {} ({}, {}){to}?",
                    it.id, it.user, it.model, it.priority
                );
                self.asking = Some((deed(it.id.clone()), question));
            }
            None => self.told(Err("no call waits".to_owned())),
        }
    }

    fn ask_of_approval(&mut self, snapshot: &Snapshot, verb: &str, deed: fn(ApprovalId) -> Deed) {
        self.panel = Panel::Approvals;
        let at = self.row(Panel::Approvals, snapshot);
        match snapshot.approvals.get(at) {
            Some(it) => {
                let question = format!(
                    "{verb} {}: {} of {} passes its soft limit?",
                    it.id, it.level, it.asked_by
                );
                self.asking = Some((deed(it.id), question));
            }
            None => self.told(Err("nothing waits for approval".to_owned())),
        }
    }
}
