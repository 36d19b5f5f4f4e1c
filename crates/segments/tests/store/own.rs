//! The program's own records: calls found again as a list in memory finds them, their lines among the
//! logs, and what becomes of them where there is no disk.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use tidegate_observe::{
    calls::{CallFilter, CallRecord, CallStore as _, Outcome},
    record::Level,
    tasks::TaskRecord,
    telemetry::{Batch, Filter, Kind, Lines, logs, put_call, put_task},
    trace::TraceId,
};
use tidegate_segments::{News, Options, OwnRecords, Query, Tailed, Telemetry};
use tidegate_types::{CallId, Clock as _, IdSource, NanoUsd, TaskId, Timestamp};

use crate::world::{HandClock, NOW, body};

struct Desk {
    directory: tempfile::TempDir,
    clock: Arc<HandClock>,
    own: OwnRecords,
}

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(HandClock::at(NOW));
        let own = own(directory.path(), &clock);
        Self {
            directory,
            clock,
            own,
        }
    }

    fn reopen(&mut self) {
        self.own.telemetry().close();
        self.own = own(self.directory.path(), &self.clock);
    }

    fn keep(&self, calls: &[CallRecord]) {
        let calls: Vec<_> = calls.iter().cloned().map(Arc::new).collect();
        self.own.append(&calls).unwrap();
        self.own.flush();
    }

    fn lines(&self, filter: &str) -> Vec<String> {
        let filter = Filter::parse(Kind::Logs, filter).unwrap();
        let store = self.own.telemetry().segments().unwrap();
        let rows = store.rows(Query::latest(filter, usize::MAX));
        rows.map(|it| body(&it.unwrap())).collect()
    }
}

fn own(directory: &std::path::Path, clock: &Arc<HandClock>) -> OwnRecords {
    let telemetry = Telemetry::open(directory, Options::default(), clock.clone());
    OwnRecords::new(Arc::new(telemetry))
}

/// A call that arrived so many milliseconds before noon.
fn call(number: u64) -> CallRecord {
    let at = Timestamp(NOW.0 + number * 1_000_000);
    let id = CallId::from_raw(IdSource::first_at(at));
    CallRecord {
        organisation: "acme".into(),
        user: "ann".into(),
        outcome: Outcome::Answered,
        status: 200,
        ..CallRecord::arrived(id, at, "anthropic_messages")
    }
}

fn names() -> impl Strategy<Value = Option<Arc<str>>> {
    const NAMES: &[&str] = &["ann", "Ann", "bob", "a b", "t1"];
    prop::option::of(prop::sample::select(NAMES).prop_map(Arc::from))
}

prop_compose! {
    fn any_call()(
        number in 0_u64..60, organisation in names(), user in names(), session in names(),
        task in names(), root in names(),
    ) -> CallRecord {
        CallRecord {
            organisation: organisation.unwrap_or_else(|| "acme".into()),
            user: user.unwrap_or_else(|| "ann".into()),
            session,
            root_task: root.filter(|_| task.is_some()),
            task,
            ..call(number)
        }
    }
}

prop_compose! {
    fn any_filter()(
        organisation in names(), user in names(), session in names(), task in names(),
        since in prop::option::of(0_u64..60), before in prop::option::of(0_u64..60),
        limit in 1_usize..12,
    ) -> CallFilter {
        CallFilter {
            organisation,
            user,
            session,
            task,
            since: since.map(|it| call(it).at),
            before: before.map(|it| call(it).id),
            limit,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn calls_are_listed_as_a_list_in_memory_lists_them(
        calls in prop::collection::vec(any_call(), 1..40),
        filters in prop::collection::vec(any_filter(), 1..6),
        every in 1_usize..12,
    ) {
        let mut desk = Desk::new();
        let mut known: BTreeMap<CallId, CallRecord> = BTreeMap::new();
        for some in calls.chunks(every) {
            let mut fresh = Vec::new();
            for it in some {
                if let Entry::Vacant(new) = known.entry(it.id) {
                    fresh.push(new.insert(it.clone()).clone());
                }
            }
            desk.keep(&fresh);
            if every % 3 == 0 {
                desk.own.telemetry().segments().unwrap().seal_all();
            }
            if every % 4 == 0 {
                desk.reopen();
            }
        }
        for filter in filters {
            let found = desk.own.list(&filter).unwrap();
            let wanted = known.values().rev().filter(|it| filter.matches(it));
            let wanted: Vec<CallRecord> = wanted.take(filter.page()).cloned().collect();
            prop_assert_eq!(found, wanted, "{:?}", filter);
        }
        for it in known.values() {
            let found = desk.own.get(it.id).unwrap();
            prop_assert_eq!(found.as_ref(), Some(it));
        }
        prop_assert_eq!(desk.own.get(call(61).id).unwrap(), None);
    }
}

#[test]
fn a_page_goes_on_where_the_one_before_it_ended() {
    let desk = Desk::new();
    let calls: Vec<CallRecord> = (0..25).map(call).collect();
    desk.keep(&calls);
    // One that was written twice, because it was not known whether it had been.
    desk.keep(&calls[10..11]);
    let mut before = None;
    let mut seen = Vec::new();
    loop {
        let filter = CallFilter {
            before,
            limit: 7,
            ..CallFilter::default()
        };
        let page = desk.own.list(&filter).unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page);
    }
    seen.reverse();
    assert_eq!(seen, calls);
}

/// What lines of calls are looked for by.
const FILTERS: &[&str] = &[
    "",
    "call",
    "\"call settled\"",
    "level:warning",
    "level:>=warning",
    "level:error",
    "level:critical",
    "service:tidegate",
    "component:gateway event:call_settled",
    "phase:settle -refused",
    "session:s1",
    "user:ANN",
    "user:bob",
    "request_id:req_011",
    "trace_id:0af7651916cd43dd8448eb211c80319c",
    "opus",
    "attributes.model_sent:claude-opus*",
    "user_day",
    "nothing or refused",
    "body:settled",
];

#[test]
fn the_line_of_a_call_is_among_the_logs_and_found_by_all_that_it_says() {
    let desk = Desk::new();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mut refused = call(1);
    refused.outcome = Outcome::Refused {
        limit: "user_day".into(),
    };
    refused.session = Some("s1".into());
    refused.request_id = Some("req_011".into());
    refused.trace_id = TraceId::parse(trace);
    let mut lost = call(2);
    lost.outcome = Outcome::UpstreamLost;
    lost.model_sent = "claude-opus-5-5".into();
    let calls = [call(0), refused, lost];
    desk.keep(&calls);
    let mut said = Batch::new(Kind::Logs);
    said.row(NOW.after(Duration::from_millis(1_500)))
        .text(logs::LEVEL, "ERROR")
        .text(logs::BODY, "the disk is full");
    desk.own.put(said);
    desk.own.flush();
    let mut batch = Batch::new(Kind::Calls);
    for it in &calls {
        put_call(&mut batch, it);
    }
    let derived = Lines::of(Kind::Calls).unwrap().told(&batch);
    for sealed in [false, true] {
        if sealed {
            desk.own.telemetry().segments().unwrap().seal_all();
        }
        for filter in FILTERS {
            let parsed = Filter::parse(Kind::Logs, filter).unwrap();
            let rows = (0..derived.rows()).rev();
            let wanted = rows.filter(|it| parsed.matches(&derived, *it));
            let wanted: Vec<&str> = wanted
                .filter_map(|it| derived.text(logs::BODY, it))
                .collect();
            let mut found = desk.lines(filter);
            found.retain(|it| it != "the disk is full");
            assert_eq!(found, wanted, "{filter} sealed: {sealed}");
        }
        let store = desk.own.telemetry().segments().unwrap();
        let all = Query::latest(Filter::all(Kind::Logs), 1);
        assert_eq!(store.count(&all).unwrap().rows, 4);
        let bars = store.histogram(&all, Duration::from_mins(1)).unwrap();
        let counts: Vec<(&str, u64)> = bars[0].counts.iter().map(|it| (&**it.0, *it.1)).collect();
        assert_eq!(counts, [("ERROR", 2), ("INFO", 1), ("WARNING", 1)]);
        assert_eq!(bars.len(), 1);
    }
    assert_eq!(
        desk.lines("level:error"),
        ["the disk is full", "call settled: upstream_lost"]
    );
}

#[test]
fn whoever_follows_the_logs_is_told_of_calls() {
    let desk = Desk::new();
    let store = desk.own.telemetry().segments().unwrap();
    let mut tail = store.tail(Filter::parse(Kind::Logs, "answered").unwrap());
    desk.keep(&[call(0)]);
    let Some(Tailed::Rows(rows)) = tail.ready() else {
        panic!("nothing came");
    };
    assert_eq!(body(&rows[0]), "call settled: answered");
}

#[test]
fn without_a_disk_records_are_counted_as_shed_until_there_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(HandClock::at(NOW));
    let place = directory.path().join("data");
    std::fs::write(&place, "no folder").unwrap();
    let own = own(&place.join("telemetry"), &clock);
    let keep = |calls: &[CallRecord]| {
        let calls: Vec<_> = calls.iter().cloned().map(Arc::new).collect();
        own.append(&calls).unwrap();
        own.flush();
    };
    let mut lost = call(1);
    lost.outcome = Outcome::UpstreamLost;
    keep(&[call(0), lost]);
    let shed: Vec<(Level, u64)> = own.take_shed().collect();
    assert_eq!(shed, [(Level::Info, 1), (Level::Error, 1)]);
    assert!(own.list(&CallFilter::default()).is_err());
    assert!(own.telemetry().condition().failing.is_some());
    std::fs::remove_file(&place).unwrap();
    own.telemetry().reopen();
    assert!(own.telemetry().segments().is_none(), "it was just tried");
    clock.forward(Duration::from_secs(10));
    own.telemetry().reopen();
    keep(&[call(2)]);
    assert_eq!(own.take_shed().count(), 0);
    assert_eq!(own.get(call(2).id).unwrap(), Some(call(2)));
    assert_eq!(own.telemetry().condition().failing, None);
    let news = own.telemetry().take_news();
    assert!(
        matches!(&news[..], [News::Failed(_), News::Recovered]),
        "{news:?}"
    );
}

#[test]
fn where_too_much_waits_records_of_level_debug_are_shed_first() {
    let desk = Desk::new();
    let database = desk.directory.path().join("telemetry.db");
    let other = rusqlite::Connection::open(database).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let some = |level: &str, rows: usize, text: &str| {
        let mut batch = Batch::new(Kind::Logs);
        for _ in 0..rows {
            batch
                .row(NOW)
                .text(logs::LEVEL, level)
                .text(logs::BODY, text);
        }
        batch
    };
    let large = "x".repeat(60_000);
    desk.own.put(some("INFO", 150, &large));
    let mut mixed = some("DEBUG", 5, "fine print");
    let important = some("ERROR", 1, "important");
    mixed.extend(&important, 0..1);
    desk.own.put(mixed);
    desk.own.put(some("INFO", 150, &large));
    other.execute_batch("COMMIT").unwrap();
    desk.own.flush();
    let shed: Vec<(Level, u64)> = desk.own.take_shed().collect();
    assert_eq!(shed, [(Level::Debug, 5), (Level::Info, 150)]);
    assert_eq!(desk.lines("important"), ["important"]);
    assert_eq!(desk.lines("fine"), [""; 0]);
}

#[test]
fn calls_that_are_taken_over_twice_are_there_once_and_those_that_are_too_old_not() {
    let desk = Desk::new();
    let mut old = call(0);
    old.at = Timestamp::from_seconds(NOW.0 / 1_000_000_000 - 366 * 86_400);
    let block = [old, call(1), call(2), call(3)];
    // It broke off after the second, and was begun again, twice.
    for block in [&block[..3], &block, &block] {
        desk.own.take_over(block).unwrap();
    }
    let store = desk.own.telemetry().segments().unwrap();
    let all = Query::latest(Filter::all(Kind::Calls), 9);
    assert_eq!(store.count(&all).unwrap().rows, 3);
    let listed = desk.own.list(&CallFilter::default()).unwrap();
    assert_eq!(listed, [call(3), call(2), call(1)]);
    assert!(desk.clock.now() == NOW);
}

#[test]
fn what_becomes_of_a_task_is_among_the_logs() {
    let desk = Desk::new();
    let mut batch = Batch::new(Kind::Tasks);
    for (second, state) in [(0, "running"), (9, "failed")] {
        let record = TaskRecord {
            id: TaskId::from_raw(7),
            at: NOW.after(Duration::from_secs(second)),
            state: state.into(),
            organisation: "acme".into(),
            user: "ann".into(),
            task: "fix-1".into(),
            root: "fix-1".into(),
            parent: None,
            task_type: Some("bugfix".into()),
            complexity: None,
            priority: None,
            session: None,
            progress: 0,
            note: Some("no luck".into()),
            calls: 2,
            input: 3,
            output: 4,
            cost: NanoUsd(5),
            started: Some(NOW),
        };
        put_task(&mut batch, &record);
    }
    desk.own.put(batch);
    desk.own.flush();
    for filter in [
        "task:fix-1",
        "event:task_turned",
        "bugfix",
        "\"no luck\"",
        "user:ann",
    ] {
        assert_eq!(
            desk.lines(filter),
            ["a task is: failed", "a task is: running"],
            "{filter}"
        );
    }
    assert_eq!(desk.lines("level:warning"), ["a task is: failed"]);
    assert_eq!(desk.lines("running"), ["a task is: running"]);
    assert_eq!(desk.lines("level:error"), [""; 0]);
}
