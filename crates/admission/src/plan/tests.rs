use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

fn place(models: &str) -> Place {
    Place {
        provider: "anthropic".into(),
        account: "local/ann".into(),
        models: models.into(),
    }
}

fn said(used_ppm: u64, resets_in: Duration) -> WindowSaid<'static> {
    WindowSaid {
        name: "5h",
        used_ppm: Some(used_ppm),
        refuses: false,
        resets_in: Some(resets_in),
    }
}

fn view(plans: &Plans, now: Monotonic) -> WindowView {
    plans.views(now).remove(0)
}

/// Dollars.
const fn usd(dollars: u64) -> NanoUsd {
    NanoUsd(dollars * 1_000_000_000)
}

#[test]
fn the_size_is_what_was_spent_over_what_was_used() {
    let mut plans = Plans::default();
    let (at, now) = (place("opus"), Monotonic(0));
    let _ = plans.hear(&at, &[said(100_000, HOUR)], now);
    plans.spend(&at, usd(4));
    let _ = plans.hear(&at, &[said(140_000, HOUR)], now);
    assert_eq!(view(&plans, now).size, None, "too little for a comparison");
    plans.spend(&at, usd(6));
    let _ = plans.hear(&at, &[said(200_000, HOUR)], now);
    let once = view(&plans, now);
    assert_eq!(
        (once.size, once.size_error),
        (Some(usd(100)), Some(usd(25)))
    );
    plans.spend(&at, usd(11));
    let _ = plans.hear(&at, &[said(300_000, HOUR)], now);
    let twice = view(&plans, now);
    assert_eq!(
        (twice.size, twice.size_error),
        (Some(usd(105)), Some(NanoUsd(5_250_000_000)))
    );
}

#[test]
fn a_window_that_begins_anew_is_not_compared_with_the_last_one() {
    let mut plans = Plans::default();
    let (at, now) = (place("opus"), Monotonic(0));
    let _ = plans.hear(&at, &[said(100_000, HOUR)], now);
    plans.spend(&at, usd(10));
    let _ = plans.hear(&at, &[said(200_000, 5 * HOUR)], now);
    assert_eq!(view(&plans, now).size, None, "it ends at another time");
    plans.spend(&at, usd(10));
    let _ = plans.hear(&at, &[said(150_000, 5 * HOUR)], now);
    plans.spend(&at, usd(10));
    let _ = plans.hear(&at, &[said(250_000, 5 * HOUR)], now);
    assert_eq!(
        view(&plans, now).size,
        Some(usd(100)),
        "and from there on it is"
    );
}

#[test]
fn only_models_whose_answers_name_a_window_count_towards_it() {
    let mut plans = Plans::default();
    let (opus, haiku, now) = (place("opus"), place("haiku"), Monotonic(0));
    let _ = plans.hear(&opus, &[said(100_000, HOUR)], now);
    plans.spend(&haiku, usd(90));
    plans.spend(&opus, usd(10));
    let _ = plans.hear(&opus, &[said(200_000, HOUR)], now);
    assert_eq!(view(&plans, now).size, Some(usd(100)));
}

#[test]
fn a_window_whose_end_has_passed_is_shown_unused() {
    let mut plans = Plans::default();
    let at = place("opus");
    let full = WindowSaid {
        refuses: true,
        ..said(1_000_000, HOUR)
    };
    let _ = plans.hear(&at, &[full], Monotonic(0));
    let before = view(&plans, Monotonic(0));
    assert_eq!(
        (before.refuses, before.used_ppm, before.resets_in_seconds),
        (true, 1_000_000, Some(3_600))
    );
    let after = view(&plans, Monotonic(0).after(HOUR));
    assert_eq!(
        (after.refuses, after.used_ppm, after.resets_in_seconds),
        (false, 0, None)
    );
}

#[test]
fn nonsense_is_counted_and_changes_nothing() {
    let mut plans = Plans::default();
    let (at, now) = (place("opus"), Monotonic(0));
    let _ = plans.hear(&at, &[said(100_000, HOUR)], now);
    let far = HOUR * 24 * 36_500;
    assert_eq!(
        plans.hear(&at, &[said(10_000_001, HOUR), said(100_000, far)], now),
        2
    );
    let view = view(&plans, now);
    assert_eq!(
        (view.used_ppm, view.resets_in_seconds),
        (100_000, Some(3_600))
    );
}

#[test]
fn what_was_learned_survives_a_restart() {
    let mut plans = Plans::default();
    let (at, now) = (place("opus"), Monotonic(0));
    let _ = plans.hear(&at, &[said(100_000, HOUR)], now);
    plans.spend(&at, usd(10));
    let _ = plans.hear(&at, &[said(200_000, HOUR)], now);
    let mut again = Plans::default();
    again.restore(&plans.export(now), Duration::from_mins(10), Monotonic(5));
    let mut expected = plans.views(now);
    expected[0].resets_in_seconds = Some(50 * 60);
    assert_eq!(again.views(Monotonic(5)), expected);
}

#[test]
fn the_plan_that_was_silent_longest_is_forgotten_first() {
    let mut plans = Plans::default();
    for account in 0..=PLANS_MAX {
        let place = Place {
            account: account.to_string().into(),
            ..place("opus")
        };
        let now = Monotonic(u64::try_from(account).unwrap());
        let _ = plans.hear(&place, &[said(1, HOUR)], now);
    }
    assert_eq!(plans.0.len(), PLANS_MAX);
    assert!(!plans.0.keys().any(|it| *it.1 == *"0"));
}

proptest! {
    /// Nobody else uses the plan; what is told is rounded to hundredths.
    #[test]
    fn the_size_is_learned_within_its_own_error_and_a_tenth(
        size_usd in 5_u64..500,
        costs in prop::collection::vec(1_u64..1_000, 200..600),
    ) {
        let mut plans = Plans::default();
        let (at, now) = (place("opus"), Monotonic(0));
        let size = u128::from(usd(size_usd).0);
        let mut spent = 0_u128;
        for cost in costs {
            // Up to 1 % of the window each.
            let cost = size * u128::from(cost) / 100_000;
            spent += cost;
            let hundredths = (spent * 200 / size).div_ceil(2);
            if hundredths > 90 {
                break;
            }
            plans.spend(&at, NanoUsd(u64::try_from(cost).unwrap()));
            let used = u64::try_from(hundredths).unwrap() * 10_000;
            let _ = plans.hear(&at, &[said(used, HOUR)], now);
        }
        let view = view(&plans, now);
        prop_assume!(view.used_ppm >= 300_000);
        let (learned, error) = (u128::from(view.size.unwrap().0), u128::from(view.size_error.unwrap().0));
        let off = learned.abs_diff(size);
        prop_assert!(off <= size / 10, "{learned} of {size}");
        prop_assert!(off <= error + size / 100, "{off} > {error}");
    }
}
