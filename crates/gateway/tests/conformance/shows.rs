//! What Claude Code is told of budgets when it carries a key of ours, and nobody else is.

use std::sync::Arc;

use jiff::tz::TimeZone;
use tidegate_ledger::{BudgetPolicy, Limit, LimitTable, Limits};

use crate::harness::{Ask, Heard, World};

const CLAUDE: &str = "claude-cli/2.1.330 (external, cli)";
const PROBE: &str = r#"{"model":"claude-haiku-4-5-20251001","max_tokens":1,"messages":[{"role":"user","content":"quota"}]}"#;
const UTILIZATION: &str = "anthropic-ratelimit-unified-overage-utilization";

/// Where the operator pays, and each user may spend so much a day.
fn world(user_day: &str) -> World {
    let defaults = Limits {
        user_day: Limit::built_in(user_day.parse().unwrap()),
        ..Limits::BUILT_IN
    };
    let table = LimitTable {
        defaults,
        ..LimitTable::default()
    };
    let policy = BudgetPolicy::built_in(TimeZone::UTC).with_limits(table);
    World::start(move |it| it.settings.budgets = Arc::new(policy.unwrap()))
}

/// As Claude Code asks in its gateway mode.
fn in_gateway_mode(ask: Ask, key: &str) -> Ask {
    ask.without("x-api-key")
        .with("authorization", &format!("Bearer {key}"))
        .with("user-agent", CLAUDE)
        .with("x-tidegate-platform", "spare")
}

fn usage(world: &World, key: &str) -> Heard {
    let ask = Ask::get("/api/oauth/usage").with("authorization", &format!("Bearer {key}"));
    world.ask(&ask)
}

fn limits_of(heard: &Heard) -> Vec<&str> {
    let names = heard.headers.iter().map(|(name, _)| name.as_str());
    names
        .filter(|it| it.starts_with("anthropic-ratelimit-"))
        .collect()
}

#[test]
fn claude_code_in_gateway_mode_is_told_its_own_budget_and_not_the_operators() {
    // A call costs $0.000212 at least.
    let world = world("0.05");
    let key = world.key("ada", |_| {});
    for stream in [true, false] {
        let ask = in_gateway_mode(Ask::messages("sim:say hi", stream), &key);
        let heard = world.ask(&ask);
        assert_eq!(heard.status, 200, "{}", heard.text());
        assert_eq!(
            limits_of(&heard),
            [
                "anthropic-ratelimit-unified-status",
                "anthropic-ratelimit-unified-representative-claim",
                "anthropic-ratelimit-unified-overage-status",
                UTILIZATION,
                "anthropic-ratelimit-unified-reset",
                "anthropic-ratelimit-unified-overage-reset",
            ]
        );
        world.settled(1);
    }
    let records = world.settled(2);
    let spent: u64 = records.iter().map(|it| it.cost.0).sum();
    let heard = usage(&world, &key);
    assert_eq!(heard.status, 200);
    let percent = spent * 100 / 50_000_000;
    let shown = heard.json();
    assert_eq!(shown["limits"][0]["percent"], percent);
    assert_eq!(shown["limits"][0]["group"], "daily");
    assert_eq!(shown["extra_usage"]["monthly_limit"], 5);
    // Asking for it is no call.
    assert_eq!(world.settled(2).len(), 2);
    world.assert_sound();
}

#[test]
fn whoever_brings_a_credential_of_its_own_is_told_what_the_provider_says() {
    let world = world("0.05");
    let key = world.key("ada", |_| {});
    let own = Ask::messages("sim:say hi", false).with("user-agent", CLAUDE);
    let beside = Ask::messages("sim:say hi", false)
        .with("user-agent", CLAUDE)
        .with("x-tidegate-key", &key);
    let other_program =
        in_gateway_mode(Ask::messages("sim:say hi", false), &key).without("user-agent");
    for ask in [own, beside, other_program] {
        let heard = world.ask(&ask);
        assert_eq!(heard.status, 200, "{}", heard.text());
        assert_eq!(heard.header(UTILIZATION), None);
        assert!(heard.header("anthropic-ratelimit-requests-limit").is_some());
    }
}

#[test]
fn a_quota_probe_is_answered_here_and_costs_nothing() {
    let world = world("20");
    let key = world.key("ada", |_| {});
    let heard = world.ask(&in_gateway_mode(Ask::post("/v1/messages", PROBE), &key));
    assert_eq!(heard.status, 200, "{}", heard.text());
    assert_eq!(heard.header(UTILIZATION), Some("0.0000"));
    assert_eq!(heard.json()["model"], "claude-haiku-4-5-20251001");
    world.wire(0);
    assert_eq!(world.settled(0).len(), 0);
    // The same words with a key of one's own are a call like any other.
    let heard = world.ask(&Ask::post("/v1/messages", PROBE).with("x-api-key", "sk-caller"));
    assert_eq!(heard.status, 200, "{}", heard.text());
    world.wire(1);
    world.settled(1);
}

#[test]
fn usage_is_told_to_the_holder_of_a_key_and_goes_nowhere() {
    let world = world("20");
    let unknown = usage(&world, "tg-unknown");
    assert_eq!(unknown.status, 401);
    assert_eq!(unknown.json()["error"]["type"], "authentication_error");
    assert_eq!(unknown.header("x-should-retry"), Some("false"));
    // Somebody else's token is none of ours, and is not passed on to find out.
    for token in ["sk-ant-oat01-login", "sk-key"] {
        let heard = usage(&world, token);
        assert_eq!(heard.status, 404);
        assert_eq!(heard.json()["error"]["type"], "not_found_error");
    }
    world.wire(0);
}
