//! How long one decision takes: check and commit over six buckets, then settle.

use std::{hint::black_box, time::Duration};

use tidegate_admission::{
    Admission, Ask, BucketSpec, Need, Owner, Pool, PoolSpec, Refill, Resource, SpecError, UserSlot,
};
use tidegate_types::{Caller, Clock, Enforcement, Mode, Monotonic, Priority, SystemClock};

/// Decisions per sample: reading a clock costs half as much as one of them.
const BATCH: u64 = 100;
const SAMPLES: usize = 20_000;
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

/// Nanoseconds per decision, one figure per batch, ascending.
fn measure(pool: &mut Pool, users: &[UserSlot], settles: bool) -> Vec<u64> {
    let clock = SystemClock::start();
    let need = Need {
        units: 10,
        requests: 1,
        input_tokens: 3_000,
        output_tokens: 400,
        tokens: 3_400,
        nano_usd: 20_000_000,
    };
    let (mut now, mut turn) = (0, 0_usize);
    let mut samples = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let started = clock.monotonic();
        for _ in 0..BATCH {
            now += 5_000;
            turn += 1;
            let ask = Ask {
                need,
                priority: Priority::ALL[turn % Priority::ALL.len()],
                user: users[turn % users.len()],
                caller: Caller::Asking,
            };
            if let Admission::Granted(taken) = pool.take(black_box(&ask), Monotonic(now)) {
                if settles {
                    pool.settle(taken, &need, Monotonic(now));
                } else {
                    let _kept = black_box(taken);
                }
            }
        }
        let spent = clock.monotonic().since(started).as_nanos();
        samples.push(u64::try_from(spent).unwrap_or(u64::MAX) / BATCH);
    }
    samples.sort_unstable();
    samples
}

#[expect(clippy::print_stdout, reason = "a bench reports on standard output")]
fn main() -> Result<(), SpecError> {
    for (what, settles) in [("check + commit", false), ("check + commit + settle", true)] {
        let mut pool = six_buckets()?;
        let names = (0..USERS).map(|it| format!("user-{it}"));
        let users: Vec<_> = names.map(|it| pool.user(&it, Monotonic(0))).collect();
        let samples = measure(&mut pool, &users, settles);
        let (median, high) = (samples[SAMPLES / 2], samples[SAMPLES / 100 * 99]);
        println!(
            "{what}, 6 buckets, {USERS} users: {median} ns median, {high} ns p99 (of batches of {BATCH})"
        );
    }
    Ok(())
}
