//! Tasks: created, seen and changed by those who may.

use expect_test::expect;

use super::world::check;

#[test]
fn a_task_is_created_reported_on_and_ended() {
    check(
        r#"caller POST /api/v1/tasks {"task": "fix-1", "task_type": "bugfix", "priority": "high", "complexity": "expert", "estimated_tokens": 5000, "estimated_cost_usd": "0.50", "estimated_seconds": 90, "deadline": "2026-07-14T13:00:00Z", "session": "s", "note": "soon"}
           caller POST /api/v1/tasks {"task": "fix-1-tests", "parent": "fix-1"}
           caller PATCH /api/v1/tasks/fix-1-tests {"progress": 40, "note": "half of it"} | state, progress, note, started
           caller PATCH /api/v1/tasks/fix-1-tests {"state": "completed", "note": ""} | state, progress, note, ended
           caller PATCH /api/v1/tasks/fix-1-tests {"progress": 50}
           caller GET /api/v1/tasks/fix-1 | task, below
           caller GET /api/v1/tasks?state=pending&root=only&limit=1 | tasks, next"#,
        expect![[""]],
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
        expect![[""]],
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
        expect![[""]],
    );
}
