//! How long one decision takes: check and commit over six buckets, then settle.

use std::{hint::black_box, time::Duration};

use tidegate_admission::{
    Admission, Ask, BucketSpec, Need, Owner, Pool, PoolSpec, Refill, Resource, SpecError, UserSlot,
};
use tidegate_types::{Caller, Clock, Enforcement, Mode, Monotonic, Priority, SystemClock};

/// Decisions per sample: reading a clock costs half as much as one of them.
const BATCH: usize = 100;
const SAMPLES: usize = 5_000;
const USERS: usize = 64;

fn six_buckets() -> Result<Pool, SpecError> {
    let bucket = |name: &str, resource, capacity, threshold| BucketSpec {
        name: name.into(),
        resource,
        capacity,
        refill: (resource != Resource::Concurrency).then_some(Refill {
            amount: capacity,
            period: Duration::from_mins(1),
        }),
        threshold,
        owner: Owner::Ours,
        enforcement: Enforcement::Named(Mode::Enforce),
    };
    let buckets = vec![
        bucket("units", Resource::Units, 5_000_000_000, 3_000_000_000),
        bucket("requests", Resource::Requests, 1_000_000_000, 0),
        bucket("input", Resource::InputTokens, 450_000_000_000, 0),
        bucket("output", Resource::OutputTokens, 90_000_000_000, 0),
        bucket("dollars", Resource::NanoUsd, 100_000_000_000_000_000, 0),
        bucket("concurrency", Resource::Concurrency, 1_000_000_000, 0),
    ];
    Ok(Pool::new(
        PoolSpec::try_new("bench", buckets)?,
        Monotonic(0),
    ))
}

/// What the bench compares.
#[derive(Clone, Copy, Debug)]
enum Case {
    /// Everything fits: the ordinary call.
    Plenty,
    /// Units are below their threshold: classes earn their shares.
    BelowThreshold,
    /// Units are spent: every call is told its exact wait.
    Spent,
}

/// Nanoseconds per call of `take` and of `settle`, one figure of each per batch, ascending.
fn measure(pool: &mut Pool, users: &[UserSlot], case: Case) -> [Vec<u64>; 2] {
    let clock = SystemClock::start();
    let need = Need {
        units: 10,
        requests: 1,
        input_tokens: 3_000,
        output_tokens: 400,
        tokens: 3_400,
        nano_usd: 20_000_000,
    };
    let units = match case {
        Case::Plenty => 0,
        Case::BelowThreshold => 3_000_000_000,
        Case::Spent => 50_000_000_000,
    };
    let spent = Need {
        units,
        ..Need::default()
    };
    pool.debit(&spent, Monotonic(0));
    let (mut now, mut turn) = (0, 0_usize);
    let mut held = Vec::with_capacity(BATCH);
    let mut samples = [const { Vec::new() }; 2];
    for _ in 0..SAMPLES {
        let started = clock.monotonic();
        for _ in 0..BATCH {
            now += 500;
            turn += 1;
            let ask = Ask {
                need,
                priority: if turn.is_multiple_of(3) {
                    Priority::Critical
                } else {
                    Priority::High
                },
                user: users[turn % users.len()],
                caller: Caller::Asking,
                queues: false,
            };
            if let Admission::Granted(taken) = pool.take(black_box(&ask), Monotonic(now)) {
                held.push(taken);
            }
        }
        let taken = clock.monotonic();
        for taken in held.drain(..) {
            now += 500;
            pool.settle(black_box(taken), &need, Monotonic(now));
        }
        let settled = clock.monotonic();
        for (samples, span) in samples
            .iter_mut()
            .zip([taken.since(started), settled.since(taken)])
        {
            let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
            samples.push(nanos / BATCH as u64);
        }
    }
    for samples in &mut samples {
        samples.sort_unstable();
    }
    samples
}

#[expect(clippy::print_stdout, reason = "a bench reports on standard output")]
fn main() -> Result<(), SpecError> {
    println!("6 buckets, {USERS} users; median and p99 of batches of {BATCH}");
    for case in [Case::Plenty, Case::BelowThreshold, Case::Spent] {
        let mut pool = six_buckets()?;
        let names = (0..USERS).map(|it| format!("user-{it}"));
        let users: Vec<_> = names
            .map(|it| pool.user("acme", &it, Monotonic(0)))
            .collect();
        let [takes, settles] = measure(&mut pool, &users, case);
        let at = |samples: &[u64], hundredth: usize| samples[SAMPLES / 100 * hundredth];
        println!(
            "{case:?}: check + commit {} ns, p99 {} ns; settle {} ns, p99 {} ns",
            at(&takes, 50),
            at(&takes, 99),
            at(&settles, 50),
            at(&settles, 99)
        );
    }
    Ok(())
}
