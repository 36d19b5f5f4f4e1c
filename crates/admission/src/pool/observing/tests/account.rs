//! A provider's account that another program shares.

use super::*;

/// A bucket as the provider keeps it, and the other program.
struct Account {
    level: i128,
    capacity: i128,
    at: u64,
    /// What the other program takes, in parts of a thousand of the refill, in calls of so many tokens.
    foreign: u64,
    call: i128,
    foreign_at: u64,
    refused: u32,
}

/// Millionths of a token.
const MICRO: i128 = 1_000_000;

impl Account {
    /// Lets time pass; the other program calls as often as its part of the refill pays for.
    fn advance(&mut self, now: u64) {
        let step =
            self.call * 1_000 * i128::from(MINUTE) / self.capacity / i128::from(self.foreign);
        let step = u64::try_from(step).unwrap();
        while self.at < now {
            let next = self.foreign_at.min(now);
            let refill = self.capacity * i128::from(next - self.at) / i128::from(MINUTE);
            self.level = (self.level + refill).min(self.capacity);
            self.at = next;
            if next == self.foreign_at {
                self.foreign_at += step;
                if self.level >= self.call {
                    self.level -= self.call;
                }
            }
        }
    }

    /// Until when a call of so many tokens is refused, and what is left, rounded to thousands.
    fn arrive(&mut self, tokens: u64, now: u64) -> (Option<Duration>, u64) {
        self.advance(now);
        let cost = i128::from(tokens) * MICRO;
        let missing = cost - self.level;
        let wait = (missing > 0).then(|| {
            self.refused += 1;
            let seconds = missing * 60 / self.capacity + 1;
            Duration::from_secs(u64::try_from(seconds).unwrap())
        });
        if wait.is_none() {
            self.level -= cost;
        }
        let left = u64::try_from(self.level / MICRO).unwrap();
        (wait, (left + 500) / 1_000 * 1_000)
    }
}

#[derive(Clone, Debug)]
struct Call {
    gap_ms: u64,
    tokens: u64,
    /// What we think it has, in percent of what it has.
    estimate: u64,
    latency_ms: u64,
}

fn calls(
    gap_ms: std::ops::Range<u64>,
    tokens: std::ops::Range<u64>,
    estimate: std::ops::Range<u64>,
) -> impl Strategy<Value = Vec<Call>> {
    let call = (gap_ms, tokens, estimate, 200_u64..2_000);
    let call = call.prop_map(|(gap_ms, tokens, estimate, latency_ms)| Call {
        gap_ms,
        tokens,
        estimate,
        latency_ms,
    });
    prop::collection::vec(call, 60)
}

/// Runs the calls one after another, and answers how far the mirror was at each answer, in
/// millionths, and how many of ours were refused.
fn run(calls: &[Call], foreign: u64, foreign_call: u64) -> (Vec<u64>, u32) {
    let limit = 450_000;
    let mut pool = Pool::new(spec(Resource::InputTokens, limit), Monotonic(0));
    let mut account = Account {
        level: i128::from(limit) * MICRO / 3,
        capacity: i128::from(limit) * MICRO,
        at: 0,
        foreign,
        call: i128::from(foreign_call) * MICRO,
        foreign_at: SECOND,
        refused: 0,
    };
    let (mut now, mut errors) = (0, Vec::new());
    for call in calls {
        now += call.gap_ms * 1_000_000;
        let need = ask(call.tokens * call.estimate / 100);
        let taken = loop {
            match pool.take(&need, Monotonic(now)) {
                Admission::Granted(taken) => break taken,
                Admission::Deferred { wait, .. } => {
                    now += u64::try_from(wait.at_least().as_nanos()).unwrap();
                }
                Admission::NeverFits { .. } => unreachable!("nothing is hard here"),
            }
        };
        let (wait, remaining) = account.arrive(call.tokens, now);
        now += call.latency_ms * 1_000_000;
        let said = [Said {
            limit: Some(limit),
            ..left(remaining)
        }];
        let refused = wait.map(|_| Refused {
            retry_after: wait,
            largest: Need::default(),
        });
        let heard = pool.observe(
            &taken,
            &Observation {
                refused,
                ..observation(&said)
            },
            Monotonic(now),
        );
        errors.push(heard.error_ppm);
        let actual = ask(if wait.is_none() { call.tokens } else { 0 }).need;
        pool.settle(taken, &actual, Monotonic(now));
    }
    (errors, account.refused)
}

/// At most 15 % of the capacity after three answers, 5 % after five.
fn stays_close(errors: &[u64]) -> Result<(), TestCaseError> {
    let worst_after = |answers: usize| errors[answers..].iter().max().copied().unwrap();
    prop_assert!(worst_after(3) <= 150_000, "{errors:?}");
    prop_assert!(worst_after(5) <= 50_000, "{errors:?}");
    Ok(())
}

proptest! {
    /// The other program eats half of the refill, in calls of any size up to 1 % of the capacity,
    /// and two thirds of the bucket were gone before we began.
    #[test]
    fn the_mirror_stays_close_though_another_program_eats_half(
        calls in calls(500..15_000, 500..12_000, 95..106),
        foreign_call in 500_u64..4_500,
    ) {
        let (errors, refused) = run(&calls, 500, foreign_call);
        stays_close(&errors)?;
        prop_assert_eq!(refused, 0);
    }

    /// The same, and we want more than the half that is left. What a call is
    /// taken for is at least what it has, as reservations are; one that starts the moment it fits may
    /// still find that the other program was faster.
    #[test]
    fn the_mirror_stays_close_though_both_programs_want_more_than_half(
        calls in calls(500..2_500, 5_000..40_000, 100..106),
        foreign_call in 500_u64..4_500,
    ) {
        let (errors, refused) = run(&calls, 500, foreign_call);
        stays_close(&errors)?;
        prop_assert!(refused <= 10, "{refused} of {}: {errors:?}", calls.len());
    }
}
