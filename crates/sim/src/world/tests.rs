mod counting;

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::{
    FaultKind,
    spec::{EpisodeSpec, FaultShareSpec, LatencySpec, LimitSpec, SubscriptionSpec},
};

const START: Timestamp = Timestamp::from_seconds(1_786_147_200);

fn at(millis: u64) -> Timestamp {
    START.after(Duration::from_millis(millis))
}

/// Limits of 60 requests, 6,000 counted input, 600 output, 6,000 OpenAI tokens a minute.
fn spec() -> ProviderSpec {
    ProviderSpec {
        limits: LimitSpec {
            requests_per_minute: 60,
            input_tokens_per_minute: 6_000,
            output_tokens_per_minute: 600,
            tokens_per_minute: 6_000,
            burst_seconds: 60,
        },
        ..ProviderSpec::default()
    }
}

fn world() -> World {
    World::new(spec(), START)
}

fn scripted(input: u64, read: u64, output: u64) -> Usage {
    Usage {
        input: Tokens(input),
        cache_read: Tokens(read),
        output: Tokens(output),
        ..Usage::default()
    }
}

fn call(family: Family, usage: Usage) -> Call {
    Call {
        family,
        account: Account {
            fingerprint: 42,
            login: false,
        },
        model: match family {
            Family::Anthropic => "claude-opus-5-5".into(),
            Family::OpenAi => "gpt-5".into(),
        },
        blocks: Vec::new(),
        output: usage.output,
        max_tokens: None,
        scripted: Some(usage),
    }
}

fn anthropic(input: u64, read: u64, output: u64) -> Call {
    call(Family::Anthropic, scripted(input, read, output))
}

fn login(model: &str, usage: Usage) -> Call {
    let mut call = call(Family::Anthropic, usage);
    call.account.login = true;
    call.model = model.into();
    call
}

#[track_caller]
fn admitted(world: &mut World, call: &Call, now: Timestamp) -> Ticket {
    match world.admit(call, now) {
        Verdict::Admitted(ticket) => *ticket,
        refused => panic!("{refused:?}"),
    }
}

#[track_caller]
fn refused(world: &mut World, call: &Call, now: Timestamp) -> (Limit, Duration) {
    match world.admit(call, now) {
        Verdict::Limited { limit, wait } => (limit, wait),
        other => panic!("{other:?}"),
    }
}

fn complete(world: &mut World, call: &Call, now: Timestamp) -> Ticket {
    let mut ticket = admitted(world, call, now);
    world.begin(&mut ticket, now);
    world.produce(&mut ticket, call.output, now);
    ticket
}

fn header(world: &mut World, call: &Call, name: &str, now: Timestamp) -> String {
    let headers = world.headers(call, now).0;
    let found = headers.into_iter().find(|it| it.0 == name);
    found.map_or(String::new(), |it| it.1)
}

fn remaining(world: &mut World, call: &Call) -> (u64, u64, u64) {
    let buckets = world.pools.get(&world.pool_of(call)).unwrap();
    (
        buckets.requests.remaining(),
        buckets.input.remaining(),
        buckets.output.remaining(),
    )
}

#[test]
fn rule_3_all_needs_are_checked_before_any_is_taken() {
    let mut world = world();
    complete(&mut world, &anthropic(5_000, 0, 1), START);
    let before = remaining(&mut world, &anthropic(1, 0, 1));
    let (limit, wait) = refused(&mut world, &anthropic(2_000, 0, 1), START);
    assert_eq!(limit, Limit::InputTokens);
    assert!(
        wait > Duration::from_secs(9) && wait < Duration::from_secs(11),
        "{wait:?}"
    );
    assert_eq!(remaining(&mut world, &anthropic(1, 0, 1)), before);
}

#[test]
fn rule_3_reads_from_the_cache_are_free() {
    let mut world = world();
    complete(&mut world, &anthropic(0, 1_000_000, 1), START);
    assert_eq!(remaining(&mut world, &anthropic(1, 0, 1)).1, 6_000);
}

#[test]
fn rule_3_a_need_above_the_bucket_takes_a_full_one_and_leaves_debt() {
    let mut world = world();
    complete(&mut world, &anthropic(12_000, 0, 1), START);
    let (limit, wait) = refused(&mut world, &anthropic(1, 0, 1), START);
    assert_eq!(limit, Limit::InputTokens);
    assert!(wait >= Duration::from_mins(1), "{wait:?}");
}

#[test]
fn rule_3_an_output_bucket_in_debt_admits_nothing_until_it_is_paid() {
    let mut world = world();
    complete(&mut world, &anthropic(1, 0, 700), START);
    let (limit, wait) = refused(&mut world, &anthropic(1, 0, 1), START);
    assert_eq!(
        (limit, wait),
        (Limit::OutputTokens, Duration::from_secs(10))
    );
    admitted(&mut world, &anthropic(1, 0, 1), at(10_000));
}

#[test]
fn rule_4_the_estimate_is_corrected_as_the_answer_begins() {
    let mut world = world();
    let call = anthropic(3_000, 0, 1);
    let mut estimates = Vec::new();
    for minute in 0..20 {
        let now = at(minute * 60_000);
        let mut ticket = admitted(&mut world, &call, now);
        let held = 6_000 - remaining(&mut world, &call).1;
        estimates.push(held);
        world.begin(&mut ticket, now);
        world.begin(&mut ticket, now);
        assert_eq!(
            remaining(&mut world, &call).1,
            3_000,
            "exact after the correction"
        );
    }
    assert!(
        estimates.iter().all(|it| (2_910..=3_090).contains(it)),
        "{estimates:?}"
    );
    assert!(estimates.iter().any(|it| *it > 3_010) && estimates.iter().any(|it| *it < 2_990));
}

#[test]
fn rule_5_output_is_taken_as_it_is_produced_whatever_the_cap() {
    let mut world = world();
    let mut call = anthropic(1, 0, 100);
    call.max_tokens = Some(Tokens(128_000));
    let mut ticket = admitted(&mut world, &call, START);
    assert_eq!(remaining(&mut world, &call).2, 600);
    world.produce(&mut ticket, Tokens(40), START);
    assert_eq!(remaining(&mut world, &call).2, 560);
    world.produce(&mut ticket, Tokens(1_000), START);
    assert_eq!(
        remaining(&mut world, &call).2,
        500,
        "never more than the answer has"
    );
    assert_eq!(ticket.used().output, Tokens(100));
}

#[test]
fn rule_6_openai_charges_the_larger_of_cap_and_estimate_and_keeps_it() {
    let mut world = world();
    let mut call = call(Family::OpenAi, scripted(1_000, 0, 1));
    call.max_tokens = Some(Tokens(4_000));
    complete(&mut world, &call, START);
    assert_eq!(
        header(&mut world, &call, "x-ratelimit-remaining-tokens", START),
        "2000"
    );
    assert_eq!(
        header(&mut world, &call, "x-ratelimit-reset-tokens", START),
        "40s"
    );
    let (limit, wait) = refused(&mut world, &call, START);
    assert_eq!((limit, wait), (Limit::Tokens, Duration::from_secs(20)));
    let requests = header(&mut world, &call, "x-ratelimit-remaining-requests", START);
    assert_eq!(requests, "58", "the refused one counts too");
}

#[test]
fn rule_1_credentials_and_classes_have_pools_of_their_own() {
    let mut world = world();
    let call = anthropic(6_000, 0, 1);
    complete(&mut world, &call, START);
    let mut other = anthropic(6_000, 0, 1);
    other.model = "claude-sonnet-5-5".into();
    admitted(&mut world, &other, START);
    let mut other = anthropic(6_000, 0, 1);
    other.account.fingerprint = 43;
    admitted(&mut world, &other, START);
    let mut same_class = anthropic(5_000, 0, 1);
    same_class.model = "claude-opus-5-5-20260901".into();
    refused(&mut world, &same_class, START);
}

#[test]
fn rule_8_anthropic_headers_round_to_thousands_and_repeat_the_emptier_bucket() {
    let mut world = world();
    let call = anthropic(3_600, 0, 301);
    complete(&mut world, &call, START);
    let headers = world.headers(&call, START).0;
    let shown: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    expect![[r#"
        anthropic-ratelimit-requests-limit: 60
        anthropic-ratelimit-requests-remaining: 59
        anthropic-ratelimit-requests-reset: 2026-08-08T00:00:01Z
        anthropic-ratelimit-tokens-limit: 6000
        anthropic-ratelimit-tokens-remaining: 2000
        anthropic-ratelimit-tokens-reset: 2026-08-08T00:00:36Z
        anthropic-ratelimit-input-tokens-limit: 6000
        anthropic-ratelimit-input-tokens-remaining: 2000
        anthropic-ratelimit-input-tokens-reset: 2026-08-08T00:00:36Z
        anthropic-ratelimit-output-tokens-limit: 600
        anthropic-ratelimit-output-tokens-remaining: 0
        anthropic-ratelimit-output-tokens-reset: 2026-08-08T00:00:31Z
    "#]]
    .assert_eq(&shown.concat());
}

#[track_caller]
fn check_windows(used: u64, expected: Expect) {
    let spec = ProviderSpec {
        subscription: SubscriptionSpec {
            five_hour_units: 1_000,
            seven_day_units: 10_000,
            scoped_units: 2_000,
            ..SubscriptionSpec::default()
        },
        ..spec()
    };
    let mut world = World::new(spec, START);
    let call = login("claude-fable-5-2", scripted(used, 0, 0));
    complete(&mut world, &call, START);
    let headers = world.headers(&call, START).0;
    let short = |name: &str| name.replace("anthropic-ratelimit-unified-", "");
    let shown: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{}: {value}\n", short(name)))
        .collect();
    expected.assert_eq(&shown.concat());
}

#[test]
fn rule_9_windows_allow_then_warn_then_refuse() {
    check_windows(
        420,
        expect![[r#"
        status: allowed
        reset: 1786165200
        representative-claim: five_hour
        5h-status: allowed
        5h-reset: 1786165200
        5h-utilization: 0.42
        7d-status: allowed
        7d-reset: 1786579242
        7d-utilization: 0.04
        7d_oi-status: allowed
        7d_oi-reset: 1786579242
        7d_oi-utilization: 0.21
    "#]],
    );
    check_windows(
        750,
        expect![[r#"
        status: allowed_warning
        reset: 1786165200
        representative-claim: five_hour
        5h-status: allowed_warning
        5h-reset: 1786165200
        5h-utilization: 0.75
        5h-surpassed-threshold: 0.75
        7d-status: allowed
        7d-reset: 1786579242
        7d-utilization: 0.07
        7d_oi-status: allowed
        7d_oi-reset: 1786579242
        7d_oi-utilization: 0.37
    "#]],
    );
    check_windows(
        2_000,
        expect![[r#"
        status: rejected
        reset: 1786579242
        representative-claim: seven_day_overage_included
        5h-status: rejected
        5h-reset: 1786165200
        5h-utilization: 2.00
        5h-surpassed-threshold: 0.9
        7d-status: allowed
        7d-reset: 1786579242
        7d-utilization: 0.20
        7d_oi-status: rejected
        7d_oi-reset: 1786579242
        7d_oi-utilization: 1.00
        7d_oi-surpassed-threshold: 0.9
    "#]],
    );
}

#[test]
fn rule_9_units_weigh_reads_a_tenth_and_output_five_times() {
    let spec = ProviderSpec {
        subscription: SubscriptionSpec {
            five_hour_units: 1_000,
            ..SubscriptionSpec::default()
        },
        ..spec()
    };
    let mut world = World::new(spec, START);
    let call = login("claude-opus-5-5", scripted(100, 1_000, 20));
    complete(&mut world, &call, START);
    let utilization = header(
        &mut world,
        &call,
        "anthropic-ratelimit-unified-5h-utilization",
        START,
    );
    assert_eq!(utilization, "0.30");
}

#[test]
fn rule_9_the_latest_reset_of_those_refusing_counts_and_other_models_still_pass() {
    let spec = ProviderSpec {
        subscription: SubscriptionSpec {
            five_hour_units: 1_000_000,
            scoped_units: 100,
            ..SubscriptionSpec::default()
        },
        ..spec()
    };
    let mut world = World::new(spec, START);
    let fable = login("claude-fable-5-2", scripted(100, 0, 1));
    complete(&mut world, &fable, START);
    let (limit, wait) = refused(&mut world, &fable, START);
    assert_eq!(limit, Limit::Window);
    assert!(wait > Duration::from_hours(5), "a week's window: {wait:?}");
    admitted(
        &mut world,
        &login("claude-opus-5-5", scripted(1, 0, 1)),
        START,
    );
    admitted(&mut world, &fable, START.after(wait));
}

#[test]
fn rule_9_five_hours_begin_with_a_call_and_end_with_the_window() {
    let spec = ProviderSpec {
        subscription: SubscriptionSpec {
            five_hour_units: 100,
            ..SubscriptionSpec::default()
        },
        ..spec()
    };
    let mut world = World::new(spec, START);
    let call = login("claude-opus-5-5", scripted(100, 0, 0));
    let later = START.after(Duration::from_hours(3));
    complete(&mut world, &call, later);
    assert_eq!(refused(&mut world, &call, later).1, Duration::from_hours(5));
    complete(&mut world, &call, later.after(Duration::from_hours(5)));
}

#[test]
fn rule_10_the_call_that_reaches_the_cap_ends_and_the_next_is_refused() {
    let spec = ProviderSpec {
        spend_cap: Some(SpendCapSpec {
            nano_usd: 1_000_000,
            ..SpendCapSpec::default()
        }),
        ..spec()
    };
    let mut world = World::new(spec, START);
    let call = anthropic(100, 0, 30);
    complete(&mut world, &call, START);
    assert!(matches!(
        world.admit(&call, START),
        Verdict::SpendCapReached
    ));
    let mut other = call;
    other.account.fingerprint = 1;
    admitted(&mut world, &other, START);
}

#[test]
fn rule_11_a_write_can_be_read_only_once_its_answer_has_begun() {
    let mut world = World::new(ProviderSpec::unlimited(), START);
    let text = "a".repeat(8_000);
    let mut call = anthropic(0, 0, 1);
    call.scripted = None;
    call.blocks = Block::chain([("user", text.as_bytes(), Some(Life::Short))]);
    let mut first = admitted(&mut world, &call, START);
    let second = admitted(&mut world, &call, START);
    assert_eq!(
        second.usage.cache_read,
        Tokens(0),
        "the first has not begun"
    );
    world.begin(&mut first, START);
    let third = admitted(&mut world, &call, START);
    assert_eq!(third.usage.cache_read, first.usage.cache_write_5m);
    assert_eq!(first.usage.cache_write_5m, Tokens(2_223));
}

#[test]
fn rule_14_latency_is_a_line_over_output_counted_and_total_input() {
    let spec = ProviderSpec {
        latency: LatencySpec::measured(),
        ..ProviderSpec::unlimited()
    };
    let mut world = World::new(spec, START);
    let ticket = admitted(&mut world, &anthropic(10_000, 90_000, 1_000), START);
    assert_eq!(
        ticket.first_byte,
        Duration::from_millis(1_360 + 115 + 1_240)
    );
    let whole = 1_520_000 + 13_900_000 + 144_000 + 1_500_000;
    assert_eq!(ticket.whole, Duration::from_micros(whole));
}

#[test]
fn rule_15_what_is_asked_for_wins_over_episodes_and_those_over_shares() {
    let fault = |kind| Some(Fault::new(kind));
    let spec = ProviderSpec {
        episodes: vec![EpisodeSpec {
            after_ms: 1_000,
            lasts_ms: 500,
            fault: Fault::new(FaultKind::Overloaded),
            per_mille: 1_000,
        }],
        faults: vec![FaultShareSpec {
            fault: Fault::new(FaultKind::Internal),
            per_mille: 1_000,
        }],
        ..spec()
    };
    let mut world = World::new(spec, START);
    let account = anthropic(1, 0, 1).account;
    let asked = fault(FaultKind::Garbage);
    assert_eq!(world.fault(asked, account, 0, at(1_200)), asked);
    for (millis, kind) in [
        (999, FaultKind::Internal),
        (1_000, FaultKind::Overloaded),
        (1_499, FaultKind::Overloaded),
        (1_500, FaultKind::Internal),
    ] {
        assert_eq!(
            world.fault(None, account, 0, at(millis)),
            fault(kind),
            "{millis} ms"
        );
    }
}

#[test]
fn rule_15_a_share_of_calls_is_that_share() {
    let spec = ProviderSpec {
        faults: vec![FaultShareSpec {
            fault: Fault::new(FaultKind::Internal),
            per_mille: 100,
        }],
        ..spec()
    };
    let mut world = World::new(spec, START);
    let account = anthropic(1, 0, 1).account;
    let hits = (0..10_000).filter(|_| world.fault(None, account, 0, START).is_some());
    let hits = hits.count();
    assert!((900..1_100).contains(&hits), "{hits} of 10,000 at 10 %");
}

#[test]
fn rule_15_a_fault_with_times_strikes_so_often_per_prompt_and_credential() {
    let mut world = world();
    let account = anthropic(1, 0, 1).account;
    let twice: Fault = "529*2".parse().unwrap();
    let mut strike = |prompt| world.fault(Some(twice), account, prompt, START).is_some();
    let struck = [strike(1), strike(1), strike(1), strike(2)];
    assert_eq!(struck, [true, true, false, true]);
}

proptest! {
    /// Over any run, what was admitted is at most the burst plus the refill plus one oversize call.
    #[test]
    fn rule_3_no_order_of_calls_gets_more_than_burst_and_refill(
        calls in proptest::collection::vec((0_u64..5_000, 1_u64..3_000), 1..100),
    ) {
        let mut world = world();
        let (mut now, mut admitted) = (START, 0);
        for (pause_ms, input) in calls {
            now = now.after(Duration::from_millis(pause_ms));
            let call = anthropic(input, 0, 0);
            if let Verdict::Admitted(mut ticket) = world.admit(&call, now) {
                world.begin(&mut ticket, now);
                admitted += input;
            }
        }
        let refill = now.since(START).as_millis() * 6_000 / 60_000;
        // Estimates may be 3 % low; the bucket then goes into debt by that much for the last call.
        prop_assert!(u128::from(admitted) <= 6_000 + refill + 100, "{admitted} of {refill}");
    }

    /// Whoever waits as long as they were told is admitted, if nobody else comes.
    #[test]
    fn rule_7_a_quoted_wait_is_enough(
        first in 1_u64..20_000,
        output in 0_u64..2_000,
        second in 1_u64..6_000,
    ) {
        let mut world = world();
        complete(&mut world, &anthropic(first, 0, output), START);
        let call = anthropic(second, 0, 1);
        if let Verdict::Limited { wait, .. } = world.admit(&call, START) {
            // The estimate is drawn anew and may be up to 6.2 % higher than the one that was quoted for.
            let drawn = Duration::from_millis(10 * second * 62 / 1_000 + 1);
            let verdict = world.admit(&call, START.after(wait + drawn));
            prop_assert!(matches!(verdict, Verdict::Admitted(_)), "{verdict:?}");
        }
    }

    #[test]
    fn rule_16_the_same_seed_gives_the_same_answers(seed: u64, inputs in proptest::collection::vec(1_u64..4_000, 1..30)) {
        let transcript = || {
            let spec = ProviderSpec {
                seed,
                faults: vec![FaultShareSpec { fault: Fault::new(FaultKind::Internal), per_mille: 300 }],
                ..spec()
            };
            let mut world = World::new(spec, START);
            let mut seen = String::new();
            for (at_second, input) in inputs.iter().enumerate() {
                let now = START.after(Duration::from_secs(at_second as u64));
                let call = anthropic(*input, 0, 5);
                let fault = world.fault(None, call.account, 0, now);
                let verdict = world.admit(&call, now);
                let headers = world.headers(&call, now);
                writeln!(seen, "{fault:?} {verdict:?} {headers:?}").unwrap();
            }
            seen
        };
        prop_assert_eq!(transcript(), transcript());
    }
}
