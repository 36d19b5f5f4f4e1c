//! Links in notices: looked at, followed once, and refused.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use tidegate_engine::approvals::{Link, LinkKey};
use tidegate_types::ApprovalId;

use super::world::{World, run};
use crate::{NoticeTested, NoticeUntested};

/// The key of every world here.
const KEY: [u8; 32] = [7; 32];

/// A world in which ann has asked to pass the soft limit of her task.
fn asked() -> (World, Link) {
    let world = World::new();
    let body = r#"{"soft_usd": 1, "hard_usd": 5, "task": "<t>"}"#;
    let (status, text) = run(world.ask("operator", "PUT", "/api/v1/budgets/task", body));
    assert_eq!(status, 200, "{text}");
    let body = r#"{"tokens": 1, "cost_usd": "1.50", "task": "<t>"}"#;
    let (_, text) = run(world.ask("caller", "POST", "/api/v1/admissions", body));
    assert!(text.contains("somebody has to approve"), "{text}");
    let approval = world.engine.approvals(|_| true).remove(0);
    let link = Link {
        approval: approval.id,
        approve: true,
        until: approval.until.seconds(),
        channel: "ops".into(),
    };
    (world, link)
}

/// What the channels of every world answer to a test.
pub(crate) fn tested(channel: &str) -> Result<NoticeTested, NoticeUntested> {
    let answered = |status, says: &str| NoticeTested {
        status,
        says: says.to_owned(),
    };
    match channel {
        "ops" => Ok(answered(200, "ok")),
        "gone" => Ok(answered(404, "no_service")),
        "down" => Err(NoticeUntested::Unanswered(
            "no connection to hooks.example.com: refused".to_owned(),
        )),
        other => Err(NoticeUntested::UnknownChannel(format!(
            "there is no channel `{other}`; the configuration has `ops`"
        ))),
    }
}

fn path(link: &Link) -> String {
    LinkKey::new(KEY).path(link)
}

/// Each line: a visitor and a method; the link is the same in all of them.
fn check(world: &World, path: &str, script: &[(&str, &str)], expect: Expect) {
    let mut told = String::new();
    for (visitor, method) in script {
        let (status, text) = run(world.ask(visitor, method, path, ""));
        let body = text.split_once("</title>").map_or(text.as_str(), |it| it.1);
        let id = world.engine.approvals(|_| true);
        let id = id.first().map(|it| it.id.to_string()).unwrap_or_default();
        write!(
            told,
            "{visitor} {method}: {status} {}",
            body.replace(&id, "ID")
        )
        .unwrap();
    }
    expect.assert_eq(&told);
}

#[test]
fn looking_decides_nothing_and_the_button_decides_once() {
    let (world, link) = asked();
    check(
        &world,
        &path(&link),
        &[
            ("remote", "GET"),
            ("page", "GET"),
            ("remote", "POST"),
            ("remote", "POST"),
            ("remote", "GET"),
        ],
        expect![[r#"
            remote GET: 200 <p>task local/ann/&lt;t&gt; would pass its soft limit of $1.00: $0.00 spent and expected, $1.50 more asked by ann. Open until 2026-07-14T13:00:00Z.<form method=post><button>Approve</button></form></html>
            page GET: 200 <p>task local/ann/&lt;t&gt; would pass its soft limit of $1.00: $0.00 spent and expected, $1.50 more asked by ann. Open until 2026-07-14T13:00:00Z.<form method=post><button>Approve</button></form></html>
            remote POST: 200 <p>Approved by channel ops: task local/ann/&lt;t&gt; may be spent from up to $2.00.</html>
            remote POST: 410 <p>Approved by channel ops: task local/ann/&lt;t&gt; may be spent from up to $2.00.</html>
            remote GET: 410 <p>Approved by channel ops: task local/ann/&lt;t&gt; may be spent from up to $2.00.</html>
        "#]],
    );
    let row = world.engine.changes(1).unwrap().remove(0);
    assert_eq!(row.who.to_string(), "channel ops");
    assert_eq!(row.action.word(), "soft_limit_approved");
}

#[test]
fn a_no_is_a_no_also_for_the_link_that_says_yes() {
    let (world, link) = asked();
    let no = Link {
        approve: false,
        ..link.clone()
    };
    check(
        &world,
        &path(&no),
        &[("remote", "GET"), ("remote", "POST")],
        expect![[r#"
            remote GET: 200 <p>task local/ann/&lt;t&gt; would pass its soft limit of $1.00: $0.00 spent and expected, $1.50 more asked by ann. Open until 2026-07-14T13:00:00Z.<form method=post><button>Deny</button></form></html>
            remote POST: 200 <p>Denied by channel ops: task local/ann/&lt;t&gt; stays at its soft limit.</html>
        "#]],
    );
    check(
        &world,
        &path(&link),
        &[("remote", "POST")],
        expect![[r#"
        remote POST: 410 <p>Denied by channel ops: task local/ann/&lt;t&gt; stays at its soft limit.</html>
    "#]],
    );
}

#[test]
fn a_link_that_was_changed_or_cut_opens_nothing() {
    let (world, link) = asked();
    let good = path(&link);
    let other = Link {
        approval: ApprovalId::from_raw(1),
        ..link.clone()
    };
    for bad in [
        good.replace("d=approve", "d=deny"),
        good.replace("c=ops", "c=boss"),
        good.replace("&e=1", "&e=2"),
        good[..good.len() - 1].to_owned(),
        good.split_once('?').unwrap().0.to_owned(),
        format!("/approvals/nothing?{}", good.split_once('?').unwrap().1),
        path(&other).replace(&other.approval.to_string(), &link.approval.to_string()),
    ] {
        for method in ["GET", "POST"] {
            let (status, text) = run(world.ask("remote", method, &bad, ""));
            assert_eq!(status, 403, "{bad}: {text}");
            assert!(text.contains("this link is not whole"), "{text}");
        }
    }
    // Signed, and for a request that never was.
    let (status, _) = run(world.ask("remote", "POST", &path(&other), ""));
    assert_eq!(status, 410);
    assert_eq!(
        world.engine.approvals(|_| true)[0].decision,
        tidegate_engine::approvals::Decision::Open
    );
}

#[test]
fn a_link_ends_with_its_request() {
    let (world, link) = asked();
    world.pass(tidegate_engine::approvals::OPEN_FOR);
    check(
        &world,
        &path(&link),
        &[("remote", "GET"), ("remote", "POST")],
        expect![[r#"
            remote GET: 410 <p>This request is over: nobody decided in time, and task local/ann/&lt;t&gt; stays at its soft limit.</html>
            remote POST: 410 <p>This request is over: nobody decided in time, and task local/ann/&lt;t&gt; stays at its soft limit.</html>
        "#]],
    );
    world.engine.tidy();
    check(
        &world,
        &path(&link),
        &[("remote", "GET")],
        expect![[r#"
        remote GET: 410 ID<IDpID>IDtIDhIDiIDsID IDrIDeIDqIDuIDeIDsIDtID IDiIDsID IDoIDvIDeIDrID<ID/IDhIDtIDmIDlID>ID
        ID"#]],
    );
}

#[test]
fn a_page_loads_and_runs_nothing_and_keeps_its_address_to_itself() {
    let (world, link) = asked();
    let answer = run(world.send(world.request("remote", "GET", &path(&link), "")));
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert!(header("content-security-policy").starts_with("default-src 'none';"));
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
}

#[test]
fn a_channel_is_tested_by_those_who_operate_and_its_answer_is_told() {
    super::world::check(
        "operator POST /api/v1/notices/ops/test
         operator POST /api/v1/notices/gone/test
         operator POST /api/v1/notices/down/test
         operator POST /api/v1/notices/opps/test
         boss POST /api/v1/notices/ops/test",
        expect![[r#"
            > operator POST /api/v1/notices/ops/test
            200 {channel: "ops", delivered: true, says: "ok", status: 200}
            > operator POST /api/v1/notices/gone/test
            200 {channel: "gone", delivered: false, says: "no_service", status: 404}
            > operator POST /api/v1/notices/down/test
            502 unanswered: nothing came back: no connection to hooks.example.com: refused
            > operator POST /api/v1/notices/opps/test
            404 no_channel: there is no channel `opps`; the configuration has `ops`
            > boss POST /api/v1/notices/ops/test
            403 whole_gateway: this concerns the whole gateway: it is for keys of its own organisation and the holder of its token
        "#]],
    );
}
