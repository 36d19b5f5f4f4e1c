//! Tasks: created, seen and changed by those who may.

use expect_test::expect;

use super::world::check;

const FIX: &str = r#"caller POST /api/v1/tasks {"task": "fix-1", "task_type": "bugfix", "priority": "high", "complexity": "expert", "estimated_tokens": 5000, "estimated_cost_usd": "0.50", "estimated_seconds": 90, "deadline": "2026-07-14T13:00:00Z", "session": "s", "note": "soon"}"#;

#[test]
fn a_task_is_created_as_it_was_said() {
    check(
        FIX,
        expect![[r#"
        > caller POST /api/v1/tasks {"task": "fix-1", "task_type": "bugfix", "priority": "high", "complexity": "expert", "estimated_tokens": 5000, "estimated_cost_usd": "0.50", "estimated_seconds": 90, "deadline": "2026-07-14T13:00:00Z", "session": "s", "note": "soon"}
        201 {
          active: "2026-07-14T12:00:00Z"
          complexity: "expert"
          created: "2026-07-14T12:00:00Z"
          created_before: true
          deadline: "2026-07-14T13:00:00Z"
          depth: 0
          estimated_cost: $0.50
          estimated_seconds: 90
          estimated_tokens: 5000
          id: "task_19f607f8e0000000"
          note: "soon"
          organisation: "local"
          own: {cache_read: 0, cache_write: 0, call_ms: 0, calls: 0, cost: $0.00, input: 0, notional: $0.00, output: 0}
          priority: "high"
          progress: 0
          root: "fix-1"
          running: 0
          session: "s"
          state: "pending"
          task: "fix-1"
          task_type: "bugfix"
          tree: {cache_read: 0, cache_write: 0, call_ms: 0, calls: 0, cost: $0.00, input: 0, notional: $0.00, output: 0}
          user: "ann"
        }
    "#]],
    );
}

#[test]
fn a_task_is_reported_on_ended_and_listed() {
    check(
        &format!(
            "{FIX} | state
             {}",
            r#"caller POST /api/v1/tasks {"task": "fix-1-tests", "parent": "fix-1"} | priority, deadline, root, depth
           caller PATCH /api/v1/tasks/fix-1-tests {"progress": 40, "note": "half of it"} | state, progress, note, started
           caller PATCH /api/v1/tasks/fix-1-tests {"state": "completed", "note": ""} | state, progress, ended
           caller PATCH /api/v1/tasks/fix-1-tests {"progress": 50}
           caller GET /api/v1/tasks?state=running&root=only&limit=1 | next
           caller GET /api/v1/tasks?state=completed&root=fix-1&session=s | next
           caller GET /api/v1/tasks?session=other"#
        ),
        expect![[r#"
            > caller POST /api/v1/tasks {"task": "fix-1", "task_type": "bugfix", "priority": "high", "complexity": "expert", "estimated_tokens": 5000, "estimated_cost_usd": "0.50", "estimated_seconds": 90, "deadline": "2026-07-14T13:00:00Z", "session": "s", "note": "soon"} | state
            201 {state: "pending"}
            > caller POST /api/v1/tasks {"task": "fix-1-tests", "parent": "fix-1"} | priority, deadline, root, depth
            201 {deadline: "2026-07-14T13:00:00Z", depth: 1, priority: "high", root: "fix-1"}
            > caller PATCH /api/v1/tasks/fix-1-tests {"progress": 40, "note": "half of it"} | state, progress, note, started
            200 {note: "half of it", progress: 40, started: "2026-07-14T12:00:00Z", state: "running"}
            > caller PATCH /api/v1/tasks/fix-1-tests {"state": "completed", "note": ""} | state, progress, ended
            200 {ended: "2026-07-14T12:00:00Z", progress: 100, state: "completed"}
            > caller PATCH /api/v1/tasks/fix-1-tests {"progress": 50}
            409 ended: task `fix-1-tests` is completed, which nothing changes any more; a call for it begins it again, unless it was cancelled
            > caller GET /api/v1/tasks?state=running&root=only&limit=1 | next
            200 {next: null}
            > caller GET /api/v1/tasks?state=completed&root=fix-1&session=s | next
            200 {next: null}
            > caller GET /api/v1/tasks?session=other
            200 {next: null, tasks: []}
        "#]],
    );
}

#[test]
fn tasks_are_ones_own_and_an_operators_to_change() {
    check(
        r#"caller POST /api/v1/tasks {"task": "anns"}
           operator POST /api/v1/tasks {"task": "olis", "user": "ann"} | task, user
           viewer GET /api/v1/tasks/anns | below
           stranger GET /api/v1/tasks/anns
           stranger PATCH /api/v1/tasks/anns {"state": "failed"}
           viewer PATCH /api/v1/tasks/anns {"state": "failed"}
           caller POST /api/v1/tasks {"user": "oli"}
           nobody PATCH /api/v1/tasks/anns {"state": "failed"}
           operator PATCH /api/v1/tasks/anns {"state": "cancelled"} | state
           operator POST /api/v1/tasks {"task": "same"} | task
           caller POST /api/v1/tasks {"task": "same"} | user
           admin GET /api/v1/tasks/same
           admin GET /api/v1/tasks/same?user=ann | below
           caller POST /api/v1/admissions {"tokens": 1, "task": "anns"}"#,
        expect![[r#"
            > caller POST /api/v1/tasks {"task": "anns"}
            201 {
              active: "2026-07-14T12:00:00Z"
              created: "2026-07-14T12:00:00Z"
              created_before: true
              depth: 0
              id: "task_19f607f8e0000000"
              organisation: "local"
              own: {cache_read: 0, cache_write: 0, call_ms: 0, calls: 0, cost: $0.00, input: 0, notional: $0.00, output: 0}
              progress: 0
              root: "anns"
              running: 0
              state: "pending"
              task: "anns"
              tree: {cache_read: 0, cache_write: 0, call_ms: 0, calls: 0, cost: $0.00, input: 0, notional: $0.00, output: 0}
              user: "ann"
            }
            > operator POST /api/v1/tasks {"task": "olis", "user": "ann"} | task, user
            201 {task: "olis", user: "ann"}
            > viewer GET /api/v1/tasks/anns | below
            200 {below: []}
            > stranger GET /api/v1/tasks/anns
            404 not_found: there is no task `anns`: see `tidegate task` for those there are
            > stranger PATCH /api/v1/tasks/anns {"state": "failed"}
            404 not_found: there is no task `anns`: see `tidegate task` for those there are
            > viewer PATCH /api/v1/tasks/anns {"state": "failed"}
            403 role_needed: a key with the role viewer may look but not ask for admissions · ask an admin for a key with that right (`tidegate keys add`)
            > caller POST /api/v1/tasks {"user": "oli"}
            403 not_yours: only an operator may create or change tasks of others, and `oli` is not the user of this key
            > nobody PATCH /api/v1/tasks/anns {"state": "failed"}
            403 not_yours: only an operator may create or change tasks of others, and `ann` is not the user of this key
            > operator PATCH /api/v1/tasks/anns {"state": "cancelled"} | state
            200 {state: "cancelled"}
            > operator POST /api/v1/tasks {"task": "same"} | task
            201 {task: "same"}
            > caller POST /api/v1/tasks {"task": "same"} | user
            201 {user: "ann"}
            > admin GET /api/v1/tasks/same
            409 several: several users have a task `same`: say whose (ann, oli)
            > admin GET /api/v1/tasks/same?user=ann | below
            200 {below: []}
            > caller POST /api/v1/admissions {"tokens": 1, "task": "anns"}
            409 cancelled: task `anns` was cancelled, and no call is made for it or for what is below it: begin another task
        "#]],
    );
}

#[test]
fn what_is_wrong_is_named() {
    check(
        r#"caller POST /api/v1/tasks {"task": ""}
           caller POST /api/v1/tasks {"task": "sk-ant-api03-0123456789abcdef"}
           caller POST /api/v1/tasks {"estimated_seconds": 99999999999}
           caller POST /api/v1/tasks {"deadline": "soon"}
           caller POST /api/v1/tasks {"parent": "nobody"}
           caller POST /api/v1/tasks {"task": "t"} | task
           caller PATCH /api/v1/tasks/t {"progress": 101}
           caller PATCH /api/v1/tasks/t {"state": "finished"}
           caller PATCH /api/v1/tasks/t {"state": "pending"}
           caller GET /api/v1/tasks?state=done
           caller GET /api/v1/tasks?before=x
           caller GET /api/v1/tasks?user=oli
           caller GET /api/v1/calls/running"#,
        expect![[r#"
            > caller POST /api/v1/tasks {"task": ""}
            400 bad_value: `task`: `` is not a text of 1 to 256 bytes without control characters
            > caller POST /api/v1/tasks {"task": "sk-ant-api03-0123456789abcdef"}
            400 bad_value: `task`: `[redacted]` is not a name: names are kept and shown, and this looks like a secret
            > caller POST /api/v1/tasks {"estimated_seconds": 99999999999}
            400 bad_value: `estimated_seconds`: `99999999999` is not a whole number up to 31622400
            > caller POST /api/v1/tasks {"deadline": "soon"}
            400 bad_value: `deadline`: `soon` is not a time like 2026-07-14T12:00:00Z, or whole seconds since 1970
            > caller POST /api/v1/tasks {"parent": "nobody"}
            400 unknown_parent: `ann` has no task `nobody` that another could be below: create it first; a task and those below it are one user's
            > caller POST /api/v1/tasks {"task": "t"} | task
            201 {task: "t"}
            > caller PATCH /api/v1/tasks/t {"progress": 101}
            400 bad_value: `progress` is a whole number from 0 to 100, and not 101
            > caller PATCH /api/v1/tasks/t {"state": "finished"}
            400 bad_value: `state`: `finished` is not one of pending, running, completed, failed, cancelled
            > caller PATCH /api/v1/tasks/t {"state": "pending"}
            400 backwards: task `t` can't become pending: it can be started, completed, failed or cancelled
            > caller GET /api/v1/tasks?state=done
            400 bad_value: `state`: `done` is not one of pending, running, completed, failed, cancelled
            > caller GET /api/v1/tasks?before=x
            400 bad_value: `before`: `x` is not the `next` of an earlier answer, task_ and 16 hexadecimal digits
            > caller GET /api/v1/tasks?user=oli
            403 not_yours: `oli` is not the user of this key, which sees only its own · leave it out, or use a key of theirs
            > caller GET /api/v1/calls/running
            200 {calls: [], count: 0}
        "#]],
    );
}

#[test]
fn quotas_show_what_is_used_and_whom_they_bind() {
    check(
        r#"caller POST /api/v1/admissions {"tokens": 1, "task": "t"} | approved
           caller GET /api/v1/quotas | quotas
           caller GET /api/v1/quotas?user=oli
           operator GET /api/v1/quotas?user=ann&organisation=local | everybody"#,
        expect![[r#"
            > caller POST /api/v1/admissions {"tokens": 1, "task": "t"} | approved
            200 {approved: true}
            > caller GET /api/v1/quotas | quotas
            200 {quotas: []}
            > caller GET /api/v1/quotas?user=oli
            403 not_yours: `oli` is not the user of this key, which sees only its own · leave it out, or use a key of theirs
            > operator GET /api/v1/quotas?user=ann&organisation=local | everybody
            200 {everybody: []}
        "#]],
    );
}
