//! When tasks are written down, and what is counted again after a crash.
//!
//! With the tasks stands which calls were running, so that the calls whose records were kept and not
//! counted yet are counted once.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use tidegate_ledger::StoreError;
use tidegate_observe::{
    calls::{CallFilter, CallRecord, LIST_MAX},
    tasks::TaskRecord,
};
use tidegate_tasks::{COUNTED, Changed, Counted, Key, Past, Recalled, TASKS, TaskView};
use tidegate_types::{CallId, Timestamp};

use super::used_by;
use crate::{Engine, writer::Stores};

/// Records of calls that are counted again after a crash at most: a second's worth is lost by one,
/// and this is a hundred times that.
const RECOUNTED_MAX: usize = 1_000_000;

/// Reads what an earlier run left.
pub(crate) fn recalled(stores: &Stores) -> Result<Recalled, StoreError> {
    let rows = stores.settings.settings_below(TASKS)?;
    let counted = stores.settings.setting(COUNTED)?;
    let tasks = rows.into_iter().map(|(_, bytes)| bytes);
    Ok(Recalled::read(tasks, counted.as_deref()))
}

impl Engine {
    /// Takes over what an earlier run left, and counts what a crash kept it from counting.
    pub(crate) fn recall_tasks(&self, recalled: Recalled) {
        let Some(counted) = self.tasks.restore(recalled) else {
            let first = Counted::from_now_on(self.clock.now());
            if let Err(unwritten) = self.keep_setting(COUNTED, &first.written()) {
                self.writer.health().failed(&unwritten);
            }
            return;
        };
        let mut seen = HashSet::<CallId, RandomState>::default();
        let mut before = None;
        while seen.len() < RECOUNTED_MAX {
            let filter = CallFilter {
                since: Some(counted.since()),
                before,
                limit: LIST_MAX,
                ..CallFilter::default()
            };
            // The sums are a view: they do not keep the gateway from starting.
            let Ok(records) = self.stores.calls.list(&filter) else {
                return;
            };
            let Some(last) = records.last() else {
                return;
            };
            before = Some(last.id);
            for record in &records {
                if !counted.has(record.id) && seen.insert(record.id) {
                    self.recount(record);
                }
            }
        }
    }

    fn recount(&self, record: &CallRecord) {
        let (Some(name), Some(root)) = (&record.task, &record.root_task) else {
            return;
        };
        self.tasks.recount(&Past {
            key: Key {
                organisation: &record.organisation,
                user: &record.user,
                name,
            },
            root,
            parent: record.parent.as_ref(),
            session: record.session.as_ref(),
            at: record.at,
            used: used_by(record),
        });
    }

    /// Writes down the tasks that have changed.
    pub(crate) fn save_tasks(&self) {
        let Some(changed) = self.tasks.changed() else {
            return;
        };
        self.tell_of(&changed);
        let values = changed.written();
        let values: Vec<(&str, &[u8])> = values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        if let Err(unwritten) = self.stores.settings.set(&values) {
            self.writer.health().failed(&unwritten);
            self.tasks.unwritten(&changed);
        }
    }

    /// Tells those who keep records which tasks have begun, ended or were changed.
    fn tell_of(&self, changed: &Changed) {
        let now = self.clock.now();
        let turned = changed.turned(now);
        if turned.is_empty() {
            return;
        }
        let settings = self.settings.load();
        let records = turned.into_iter().map(|it| {
            let mut record = record_of(it, now);
            record.redact(&settings.redactor);
            record
        });
        let records: Vec<TaskRecord> = records.collect();
        self.records.tasks(&records);
    }
}

fn record_of(task: TaskView, now: Timestamp) -> TaskRecord {
    let used = task.tree;
    let cached = used.cache_read.saturating_add(used.cache_write);
    TaskRecord {
        id: task.id,
        at: now,
        state: task.state.word().into(),
        organisation: task.organisation,
        user: task.user,
        task: task.name,
        root: task.root,
        parent: task.parent,
        task_type: task.task_type,
        complexity: task.complexity,
        priority: task.priority,
        session: task.session,
        progress: task.progress,
        note: task.note,
        calls: used.calls,
        input: used.input.saturating_add(cached),
        output: used.output,
        cost: used.cost,
        started: task.started,
    }
}
