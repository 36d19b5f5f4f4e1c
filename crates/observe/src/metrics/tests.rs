use expect_test::expect;
use proptest::prelude::*;

use super::*;

/// `tidegate_<component>_<metric>_<unit>[_total]`.
#[test]
fn every_metric_is_named_by_component_unit_and_kind() {
    const COMPONENTS: &[&str] = &[
        "gateway",
        "admission",
        "ledger",
        "engine",
        "control",
        "observe",
        "notify",
        "otlp",
        "process",
    ];
    let registry = Registry::new();
    let mut names = Vec::new();
    for definition in registry.catalogue() {
        let Definition { name, kind, .. } = definition;
        let rest = name.strip_prefix("tidegate_").unwrap_or_default();
        let (component, rest) = rest.split_once('_').unwrap_or_default();
        assert!(COMPONENTS.contains(&component), "{name}: which component?");
        let is_counter = *kind == Kind::Counter;
        assert_eq!(
            rest.ends_with("_total"),
            is_counter,
            "{name}: total marks counters"
        );
        let stem = rest.strip_suffix("_total").unwrap_or(rest);
        let unit = definition.unit.word();
        let metric = stem.strip_suffix(unit).and_then(|it| it.strip_suffix('_'));
        assert!(
            metric.is_some_and(|it| !it.is_empty()),
            "{name}: metric and unit {unit}"
        );
        let legal = |it: u8| it.is_ascii_lowercase() || it == b'_' || it.is_ascii_digit();
        assert!(name.bytes().all(legal), "{name}");
        let help = definition.help.trim();
        assert!(
            !help.is_empty() && !help.ends_with('.') && !help.contains('\n'),
            "{name}: {help}"
        );
        for label in definition.labels {
            assert!(
                !["le", "quantile"].contains(label),
                "{name}: {label} is Prometheus' own"
            );
        }
        names.push(*name);
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name is used twice");
}

#[test]
fn exposition_is_prometheus_text() {
    let registry = Registry::new();
    let ended = registry
        .ended_calls
        .with(["anthropic_messages", "sonnet", "answered"]);
    ended.increment();
    ended.add(2);
    registry
        .ended_calls
        .with(["openai_chat", "a\\b\"c\nd", "refused"])
        .increment();
    registry
        .spent_dollars
        .with(["acme", "llm", "sonnet"])
        .add_money(NanoUsd(6_488_000));
    registry.open_calls.with([]).add(-2);
    registry
        .bucket_fill
        .with(["sonnet", "units"])
        .set_ratio(1, 3);
    let text = registry.expose();
    expect![[r##"
        # HELP tidegate_gateway_ended_calls_total Calls that ended, by how they ended
        # TYPE tidegate_gateway_ended_calls_total counter
        tidegate_gateway_ended_calls_total{dialect="anthropic_messages",platform="sonnet",outcome="answered"} 3
        tidegate_gateway_ended_calls_total{dialect="openai_chat",platform="a\\b\"c\nd",outcome="refused"} 1
        # HELP tidegate_gateway_open_calls Calls that are with a provider
        # TYPE tidegate_gateway_open_calls gauge
        tidegate_gateway_open_calls -2
        # HELP tidegate_admission_bucket_fill_ratio How full a bucket is
        # TYPE tidegate_admission_bucket_fill_ratio gauge
        tidegate_admission_bucket_fill_ratio{platform="sonnet",bucket="units"} 0.333333333
        # HELP tidegate_ledger_spent_dollars_total What calls were charged
        # TYPE tidegate_ledger_spent_dollars_total counter
        tidegate_ledger_spent_dollars_total{organisation="acme",service="llm",platform="sonnet"} 0.006488
    "##]]
    .assert_eq(&text);
}

#[test]
fn a_histogram_is_cumulative_and_its_count_is_its_last_bucket() {
    let registry = Registry::new();
    let first = registry.first_byte.with(["sonnet"]);
    for millis in [1, 1, 30, 700_000] {
        first.observe_duration(Duration::from_millis(millis));
    }
    let text = registry.expose();
    let lines = |part: &str| {
        let found = text.lines().filter(|it| it.contains(part));
        found
            .map(|it| it.rsplit_once(' ').unwrap_or_default().1.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(lines("le=\"0.0005\""), ["0"]);
    assert_eq!(
        lines("le=\"0.001\""),
        ["2"],
        "a bound is part of its bucket"
    );
    assert_eq!(lines("le=\"0.05\""), ["3"]);
    assert_eq!(lines("le=\"600\""), ["3"]);
    assert_eq!(lines("le=\"+Inf\""), ["4"]);
    assert_eq!(lines("_count{"), ["4"]);
    assert_eq!(lines("_sum{"), ["700.032"]);
}

#[test]
fn label_sets_beyond_the_bound_are_folded_and_said() {
    let registry = Registry::new();
    for model in 0..LABEL_SETS_MAX + 5 {
        registry
            .used_tokens
            .with(["sonnet", &format!("model-{model}"), "input"])
            .add(2);
    }
    let text = registry.expose();
    let of = |part: &str| {
        text.lines()
            .filter(|it| it.contains(part))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of("tidegate_gateway_used_tokens_total{").len(),
        LABEL_SETS_MAX + 1
    );
    assert_eq!(
        of("model=\"other\""),
        [r#"tidegate_gateway_used_tokens_total{platform="other",model="other",class="other"} 10"#]
    );
    assert_eq!(
        of("folded_uses_total{"),
        [r#"tidegate_observe_folded_uses_total{metric="tidegate_gateway_used_tokens_total"} 5"#]
    );
}

#[test]
fn a_forgotten_label_set_makes_room() {
    let registry = Registry::new();
    let level = |bucket: &str| registry.bucket_fill.with(["p", bucket]);
    level("a").set(1);
    level("b").set(2);
    registry.bucket_fill.forget(["p", "a"]);
    registry.bucket_fill.forget(["p", "never"]);
    let text = registry.expose();
    assert!(
        !text.contains("bucket=\"a\"") && text.contains("bucket=\"b\""),
        "{text}"
    );
    assert_eq!(level("a").value(), 0);
}

#[test]
fn handles_of_one_label_set_are_one_series() {
    let registry = Registry::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    registry.refused_calls.with(["task"]).increment();
                }
            });
        }
    });
    assert_eq!(registry.refused_calls.with(["task"]).value(), 4_000);
}

#[test]
fn a_timer_measures_what_it_is_told() {
    let registry = Registry::new();
    let commit = registry.commit_time.with([]);
    let took = commit.timer(Monotonic(1_000)).stop(Monotonic(6_000));
    assert_eq!(
        (took, commit.sum(), commit.count()),
        (Duration::from_micros(5), 5_000, 1)
    );
}

#[test]
fn every_metric_is_in_the_list_for_people() {
    let registry = Registry::new();
    let list = registry.catalogue_markdown();
    for definition in registry.catalogue() {
        let row = format!("| `{}` | {} |", definition.name, definition.kind.word());
        assert!(list.contains(&row), "{row}");
    }
    assert!(list.contains("`tidegate_observe_folded_uses_total`"));
}

proptest! {
    /// Whatever a client calls its model, the exposition stays one line per series.
    #[test]
    fn no_label_breaks_the_format(value in "\\PC*|[\\\\\"\n]{0,20}|.{100,200}") {
        let registry = Registry::new();
        registry.unpriced_calls.with([&value]).increment();
        let text = registry.expose();
        prop_assert_eq!(text.lines().count(), 3, "{}", text);
        prop_assert!(text.ends_with(" 1\n"));
        let first = registry.unpriced_calls.with([&value]);
        prop_assert_eq!(first.value(), 1, "the same value finds the same series");
    }

    #[test]
    fn an_observation_is_in_the_first_bucket_that_holds_it(nanos in 0_u64..700_000_000_000) {
        let registry = Registry::new();
        let added = registry.added_time.with([]);
        added.observe(nanos);
        let filled = added.0.counts.iter().position(|it| it.load(Ordering::Relaxed) == 1).unwrap();
        prop_assert!(added.0.bounds.get(filled).is_none_or(|it| nanos <= *it));
        prop_assert!(filled == 0 || nanos > added.0.bounds[filled - 1]);
    }
}
