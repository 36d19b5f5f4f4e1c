//! What is booked: corrected, repriced, and read while some of it is still on its way.

use expect_test::expect;
use rustix::process::Signal;
use serde_json::{Value, json};
use tidegate_ledger::{
    Line,
    journal::{Journal as _, encode_entry},
};
use tidegate_store::FileJournal;

use crate::{
    wire::{OWN_KEY, post},
    world::{Gateway, World},
};

/// A reservation of $0.05.
fn admitted(gateway: &Gateway) -> String {
    let ask = json!({ "cost_usd": "0.05", "task": "t-1" });
    let admitted = post(gateway.address, "/api/v1/admissions", &[], &ask).json();
    admitted["reservation"].as_str().unwrap().to_owned()
}

/// Settles one without a word of what it cost.
fn settle_at_bound(gateway: &Gateway, id: &str) {
    let path = format!("/api/v1/reservations/{id}/settle");
    let settled = post(gateway.address, &path, &[], &json!({}));
    assert_eq!(settled.status, 200, "{settled:?}");
}

#[test]
fn an_estimate_is_corrected_and_budgets_follow() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let id = admitted(&gateway);
    settle_at_bound(&gateway, &id);
    let again = world.ask(&format!("ledger settle {id} 0.02"));
    assert!(
        again.code == 1 && again.err.contains("`tidegate ledger correct"),
        "{again:?}"
    );
    let said = world.said(&format!("ledger correct {id} 0.02"));
    expect![[r#"
        resv_ID was booked at $0.05, and is at $0.02 now
    "#]]
    .assert_eq(&world.normal(&said));
    let corrected = world.json(&format!("ledger correct {id} 0.01 --json"));
    assert_eq!(corrected["from"]["usd"], "0.02", "{corrected}");
    let budgets = world.json("budget --json");
    for level in budgets["budgets"].as_array().unwrap() {
        assert_eq!(level["spent"]["usd"], "0.01", "{level}");
    }
    let rows = world.said("ledger export");
    assert!(rows.lines().last().unwrap().contains("correct"), "{rows}");
    let verified = world.said("ledger verify");
    assert!(verified.contains("nothing is wrong"), "{verified}");
}

#[test]
fn recorded_calls_are_repriced_and_nothing_is_changed() {
    let (mut world, _provider) = World::with_provider();
    let gateway = world.serve();
    for prompt in ["sim:say hello", "sim:say hello"] {
        assert_eq!(gateway.call(&[OWN_KEY], prompt).status, 200);
    }
    let same = world.json("prices reprice --json");
    assert_eq!(same["models"][0]["calls"], 2, "{same}");
    assert_eq!(same["models"][0]["difference_usd"], "0.00", "{same}");
    assert_eq!(same["gateway_has_other_prices"], false, "{same}");
    // The operator's file counts, whether the gateway has read it yet or not; then it is said.
    let file = world.path("prices.toml");
    let table =
        "format = 1\n[providers.anthropic.models.claude-opus-5-5]\ninput = 8\noutput = 40\n";
    std::fs::write(&file, table).unwrap();
    world.configure(&format!("[prices]\nfile = {file:?}\n"));
    let before = world.said("ledger verify");
    let said = world.said("prices reprice --since 1h");
    expect![[r#"
        provider  model  calls  booked  repriced  difference  table
        anthropic  claude-opus-5-5  2  $0.000168  $0.000336  +$0.000168  operator
        all  2  $0.000168  $0.000336  +$0.000168
        repriced by this configuration's prices; the running gateway charges by others until it reads them (`tidegate prices` shows its own)
        nothing is changed: the ledger keeps what was booked
    "#]].assert_eq(&world.normal(&said));
    assert_eq!(world.said("ledger verify"), before);
    let none = world.said("prices reprice --model gpt");
    assert!(none.starts_with("no recorded call has usage"), "{none}");
}

/// Entries are written to the store together, a twentieth of a second after the first of them.
#[test]
fn what_was_acknowledged_is_verified_and_exported_at_once() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    for _ in 0..10 {
        let id = admitted(&gateway);
        settle_at_bound(&gateway, &id);
        let exported = world.ask("ledger export");
        let ends = exported
            .out
            .matches(&format!("{id}\\\",\\\"ordinal\\\":1"))
            .count();
        assert_eq!((ends, exported.err.as_str()), (1, ""), "{exported:?}");
    }
}

#[test]
fn what_only_the_journal_of_a_killed_gateway_has_is_counted_until_the_next_start() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let id = admitted(&gateway);
    settle_at_bound(&gateway, &id);
    let rows = world.said("ledger export");
    gateway.program.signal(Signal::KILL);
    gateway.program.end();
    // As if it had booked another just before.
    let journal = FileJournal::open(&world.data().join("journal")).unwrap();
    let mut frames = Vec::new();
    for row in rows.lines().filter(|it| it.contains(&id)) {
        let row: Value = serde_json::from_str(row).unwrap();
        let text = row["payload"].as_str().unwrap();
        let other = text.replace(&id, "resv_0000000000000001");
        encode_entry(&Line::parse(&other).unwrap(), &mut frames).unwrap();
    }
    journal.append(&frames).unwrap();
    drop(journal);
    let verified = world.ask("ledger verify");
    assert!(verified.out.contains("reservations: 1,"), "{verified:?}");
    assert_eq!(verified.code, 0, "{verified:?}");
    expect![[r#"
        2 entries of the journal are not in the ledger yet, and not in what follows: `tidegate serve` takes them over when it starts; where a gateway runs, `tidegate status` says what keeps it from that
    "#]]
    .assert_eq(&verified.err);
    assert_eq!(world.ask("ledger export").err, verified.err);
    let _gateway = world.serve();
    let verified = world.ask("ledger verify");
    assert!(
        verified.out.contains("reservations: 2,") && verified.out.contains("nothing is wrong"),
        "{verified:?}"
    );
    assert_eq!(verified.err, "");
}
