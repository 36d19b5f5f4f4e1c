use expect_test::{Expect, expect};
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};
use serde_json::{Value, json};
use tidegate_types::{ApprovalId, CallId};

use super::{
    keys::{Deed, Step},
    *,
};

fn money(nano: u64) -> Value {
    json!({ "usd": "", "nano_usd": nano })
}

fn bucket(name: &str, level: i64, threshold: u64) -> Value {
    json!({
        "name": name, "resource": "units", "owner": "ours", "keyless": "watch", "asking": "enforce",
        "capacity": 450_000, "level": level, "threshold": threshold, "held": 0, "debt": 0,
        "overdrawn": 0, "debt_total": 0, "full_in_seconds": 90, "classes": [],
    })
}

fn status() -> Value {
    json!({
        "version": "0.1.0", "ready": true, "reasons": [],
        "platforms": [{ "platform": "sonnet", "penalties": [], "buckets": [
            bucket("input_tokens", 225_000, 45_000), bucket("units", -1_200, 45_000),
        ] }],
        "cooldowns": [{
            "provider": "anthropic", "models": "opus", "cause": "rate", "message": "", "left_seconds": 75,
        }],
        "limits": [], "watched": { "limits": [], "enforce_with": "tidegate serve --enforce" },
        "open_reservations": 0, "unknown_reservations": 0, "dropped_reservations": 0,
        "shed_records": 0,
    })
}

fn budget(level: &str, task: Option<&str>, spent: u64, hard: u64) -> Value {
    json!({
        "level": level, "organisation": "acme", "user": "ada", "task": task, "window": null,
        "limit": {
            "soft": null, "hard": money(hard * 1_000_000_000), "overage_allowed": false,
            "named": true, "keyless": "enforce", "asking": "enforce",
        },
        "spent": money(spent * 10_000_000), "held": money(0), "left": money(0),
        "notional": money(0), "would_refuse": 0, "soft_passed": false, "in_use": true,
    })
}

fn waiting(call: u64, priority: &str, user: &str, away: bool) -> Value {
    json!({
        "id": CallId::from_raw(call), "platform": "sonnet", "organisation": "acme", "user": user,
        "model": "claude-opus-5-5", "priority": priority, "place": call, "of": 2,
        "waited_ms": 61_000, "wait_p50_ms": 900, "wait_p90_ms": 200_000, "away": away,
        "reason": "",
    })
}

fn running(call: u64, phase: &str) -> Value {
    json!({
        "call": CallId::from_raw(call), "organisation": "acme", "user": "ada", "task": "fix-login",
        "root": "fix-login", "model": "claude-opus-5-5", "platform": "sonnet", "since": "",
        "lasts_ms": 4_200, "phase": phase,
    })
}

/// A busy moment.
fn busy() -> Snapshot {
    Snapshot {
        address: "127.0.0.1:8787".to_owned(),
        status: Some(serde_json::from_value(status()).unwrap()),
        queues: Some(
            serde_json::from_value(json!({
                "waiting": [waiting(1, "critical", "ada", false), waiting(2, "high", "ben", true)],
                "platforms": [],
            }))
            .unwrap(),
        ),
        budgets: serde_json::from_value(json!([
            budget("task", Some("fix-login"), 480, 5),
            budget("user_day", None, 480, 20),
        ]))
        .unwrap(),
        running: Some(
            serde_json::from_value(json!({
                "calls": [running(3, "answering"), running(4, "sent")], "count": 2,
            }))
            .unwrap(),
        ),
        approvals: serde_json::from_value(json!([{
            "id": ApprovalId::from_raw(7), "state": "open", "level": "task",
            "organisation": "acme", "user": "ada", "task": "fix-login", "asked_by": "ada",
            "joined": [], "limit": money(1_000_000_000), "spent": money(990_000_000),
            "asked": money(50_000_000), "at": "", "until": "",
        }]))
        .unwrap(),
        limits: Some(
            serde_json::from_value(json!({
                "buckets": [{
                    "platform": "sonnet", "name": "input_tokens", "resource": "input_tokens",
                    "owner": "ours", "capacity": 450_000,
                    "refill": { "amount": 450_000, "period_seconds": 60.0 }, "threshold": 45_000,
                    "keyless": "watch", "asking": "enforce",
                }],
                "budgets": [],
            }))
            .unwrap(),
        ),
        gone: None,
    }
}

/// The screen as text.
fn screen(snapshot: &Snapshot, view: &View, (width, height): (u16, u16)) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let paint = Paint {
        snapshot,
        view: Some(view),
        colours: true,
    };
    terminal
        .draw(|frame| paint.draw(frame.area(), frame.buffer_mut()))
        .unwrap();
    terminal
}

#[track_caller]
fn check(snapshot: &Snapshot, view: &View, size: (u16, u16), expected: Expect) {
    let terminal = screen(snapshot, view, size);
    let lines = terminal.backend().to_string();
    let lines = lines.lines().map(|it| it.trim_matches('"').trim_end());
    expected.assert_eq(&lines.fold(String::new(), |all, it| all + it + "\n"));
}

fn press(view: &mut View, snapshot: &Snapshot, code: KeyCode) -> Step {
    view.press(KeyEvent::new(code, KeyModifiers::NONE), snapshot)
}

#[test]
fn a_busy_moment_fits_a_small_terminal() {
    check(
        &busy(),
        &View::default(),
        (80, 24),
        expect![[r#"
            tidegate 0.1.0 at http://127.0.0.1:8787 takes calls
             buckets: left, refill ──────────────────────  budgets: spent and held ─────────
            sonnet.input_tokens ██░░  225k/450k +450k/min fix-login: ta ████     $4.80 of $5
            sonnet.units        ░░░░ -1.2k/450k           ada: user day █░░░    $4.80 of $20
             queue: 2 wait, 1 critical, 1 high: place, waited, at most ─────────────────────
            critical ada      claude-opus-5-5 sonnet     1 of 2   1 min 1 s  3 min 20 s held
            high     ben      claude-opus-5-5 sonnet     2 of 2   1 min 1 s  3 min 20 s away






             running calls: 2 ──────────────────────────────────────────────────────────────
            answering ada       fix-login           claude-opus-5-5    sonnet            4 s
            sent      ada       fix-login           claude-opus-5-5    sonnet            4 s





             approvals that are asked for ──────────  providers that are not asked ─────────
            fix-login: ta ada        $0.99  of $1.00 anthropic opus    rate       1 min 15 s
            q quit · tab panel · ↑↓ row · waiting: p promote, x cancel · a approve, d deny
        "#]],
    );
}

#[test]
fn a_large_terminal_shows_the_same_with_room() {
    check(
        &busy(),
        &View::default(),
        (120, 30),
        expect![[r#"
            tidegate 0.1.0 at http://127.0.0.1:8787 takes calls
             buckets: left, refill ─────────────────────────────────────────────  budgets: spent and held ──────────────────────────
            sonnet.input_tokens                        ██░░  225k/450k +450k/min fix-login: task                ████     $4.80 of $5
            sonnet.units                               ░░░░ -1.2k/450k           ada: user day                  █░░░    $4.80 of $20
             queue: 2 wait, 1 critical, 1 high: place, waited, at most ─────────────────────────────────────────────────────────────
            critical ada                claude-opus-5-5                     sonnet               1 of 2   1 min 1 s  3 min 20 s held
            high     ben                claude-opus-5-5                     sonnet               2 of 2   1 min 1 s  3 min 20 s away









             running calls: 2 ──────────────────────────────────────────────────────────────────────────────────────────────────────
            answering ada              fix-login                        claude-opus-5-5                 sonnet                   4 s
            sent      ada              fix-login                        claude-opus-5-5                 sonnet                   4 s








             approvals that are asked for ──────────────────────────────  providers that are not asked ─────────────────────────────
            fix-login: task            ada               $0.99  of $1.00 anthropic opus                  rate             1 min 15 s
            q quit · tab panel · ↑↓ row · waiting: p promote, x cancel · a approve, d deny
        "#]],
    );
}

#[test]
fn where_nothing_is_each_panel_says_so() {
    check(
        &Snapshot::default(),
        &View::default(),
        (80, 24),
        expect![[r#"
            asking http://
             buckets: left, refill ──────────────────────  budgets: spent and held ─────────
            no platform has buckets                       no budget is in use
             queue ─────────────────────────────────────────────────────────────────────────
            no call waits







             running calls: 0 ──────────────────────────────────────────────────────────────
            no call runs







             approvals that are asked for ──────────  providers that are not asked ─────────
            nothing waits for approval               every provider is asked
            q quit · tab panel · ↑↓ row · waiting: p promote, x cancel · a approve, d deny
        "#]],
    );
}

#[test]
fn a_terminal_of_any_size_is_drawn_on() {
    for width in [1, 5, 20, 40, 80, 200] {
        for height in [1, 2, 3, 6, 12, 24, 60] {
            drop(screen(&busy(), &View::default(), (width, height)));
        }
    }
}

#[test]
fn a_gateway_that_is_gone_is_said_and_what_is_known_of_it_stays() {
    let mut snapshot = busy();
    snapshot.gone = Some("no gateway answers at 127.0.0.1:8787: start one".to_owned());
    let terminal = screen(&snapshot, &View::default(), (80, 24));
    let text = terminal.backend().to_string();
    assert!(
        text.contains("GONE: no gateway answers at 127.0.0.1:8787"),
        "{text}"
    );
    assert!(text.contains("fix-login"), "{text}");
}

#[test]
fn more_rows_than_there_is_room_for_are_scrolled_through() {
    let mut snapshot = busy();
    let many: Vec<Value> = (1..40)
        .map(|it| waiting(it, "high", &format!("user-{it}"), false))
        .collect();
    let queues = json!({ "waiting": many, "platforms": [] });
    snapshot.queues = Some(serde_json::from_value(queues).unwrap());
    let mut view = View::default();
    for _ in 0..100 {
        assert_eq!(press(&mut view, &snapshot, KeyCode::Down), Step::Stay);
    }
    let text = screen(&snapshot, &view, (80, 24)).backend().to_string();
    assert!(text.contains("user-39"), "{text}");
    assert!(!text.contains("user-1 "), "{text}");
    assert_eq!(press(&mut view, &snapshot, KeyCode::Char('x')), Step::Stay);
    let asked = view.foot().0;
    assert!(asked.contains(&CallId::from_raw(39).to_string()), "{asked}");
}

#[test]
fn nothing_is_done_without_a_yes_and_then_to_what_was_asked_about() {
    let (mut view, mut snapshot) = (View::default(), busy());
    let ask = |view: &mut View, snapshot: &Snapshot, key| {
        assert_eq!(press(view, snapshot, KeyCode::Char(key)), Step::Stay);
        view.foot().0
    };
    let mut told = String::new();
    for key in ['p', 'x', 'a', 'd'] {
        told += &(ask(&mut view, &snapshot, key) + "\n");
        // Any other key is a no.
        assert_eq!(press(&mut view, &snapshot, KeyCode::Enter), Step::Stay);
    }
    expect![[r#"
        promote call_0000000000000001 of ada (claude-opus-5-5, critical) to critical? y/n
        cancel call_0000000000000001 of ada (claude-opus-5-5, critical)? y/n
        approve appr_0000000000000007: task of ada passes its soft limit? y/n
        deny appr_0000000000000007: task of ada passes its soft limit? y/n
    "#]]
    .assert_eq(&told);
    press(&mut view, &snapshot, KeyCode::Char('k'));
    ask(&mut view, &snapshot, 'x');
    // What waits may have changed meanwhile: it was asked about the first.
    snapshot.queues.as_mut().unwrap().waiting.remove(0);
    let yes = press(&mut view, &snapshot, KeyCode::Char('y'));
    assert_eq!(yes, Step::Do(Deed::Cancel(CallId::from_raw(1).to_string())));
    ask(&mut view, &snapshot, 'a');
    let yes = press(&mut view, &snapshot, KeyCode::Char('y'));
    assert_eq!(yes, Step::Do(Deed::Approve(ApprovalId::from_raw(7))));
    assert_eq!(press(&mut view, &snapshot, KeyCode::Char('q')), Step::Quit);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(view.press(interrupt, &snapshot), Step::Quit);
}

#[test]
fn without_colours_none_is_used() {
    let colours = |colours: bool| {
        let snapshot = busy();
        let paint = Paint {
            snapshot: &snapshot,
            view: Some(&View::default()),
            colours,
        };
        let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
        paint.draw(buffer.area, &mut buffer);
        let mut found: Vec<String> = buffer.content.iter().map(|it| it.fg.to_string()).collect();
        found.sort();
        found.dedup();
        found.join(" ")
    };
    assert_eq!(colours(true), "Green Red Reset Yellow");
    assert_eq!(colours(false), "Reset");
}

#[test]
fn where_nobody_looks_one_frame_has_all_rows() {
    expect![[r#"
        tidegate 0.1.0 at http://127.0.0.1:8787 takes calls
         buckets: left, refill ─────────────────────────────────────────────────────────────────────────────────────────────────
        sonnet.input_tokens                                                                            ██░░  225k/450k +450k/min
        sonnet.units                                                                                   ░░░░ -1.2k/450k
         budgets: spent and held ───────────────────────────────────────────────────────────────────────────────────────────────
        fix-login: task                                                                                     ████     $4.80 of $5
        ada: user day                                                                                       █░░░    $4.80 of $20
         queue: 2 wait, 1 critical, 1 high: place, waited, at most ─────────────────────────────────────────────────────────────
        critical ada                claude-opus-5-5                     sonnet               1 of 2   1 min 1 s  3 min 20 s held
        high     ben                claude-opus-5-5                     sonnet               2 of 2   1 min 1 s  3 min 20 s away
         running calls: 2 ──────────────────────────────────────────────────────────────────────────────────────────────────────
        answering ada              fix-login                        claude-opus-5-5                 sonnet                   4 s
        sent      ada              fix-login                        claude-opus-5-5                 sonnet                   4 s
         approvals that are asked for ──────────────────────────────────────────────────────────────────────────────────────────
        fix-login: task                                                    ada                                   $0.99  of $1.00
         providers that are not asked ──────────────────────────────────────────────────────────────────────────────────────────
        anthropic opus                                                          rate                                  1 min 15 s
    "#]].assert_eq(&printed(&busy()));
}
