//! What each operation of a queue costs while 100,000 calls wait: to come, to be told a place, to leave, to have a turn.

use std::{hint::black_box, time::Duration};

use tidegate_admission::{
    Ask, BucketSpec, Need, Next, Owner, Pool, PoolSpec, Queue, Refill, Resource, SpecError, Ticket,
    UserSlot, Waiting,
};
use tidegate_types::{Caller, Clock, Enforcement, Mode, Monotonic, Priority, SystemClock};

/// As many as may, but for the one that comes and leaves.
const WAITING: u64 = 99_999;
const USERS: usize = 1_000;
/// Operations per sample.
const BATCH: u64 = 100;
const SAMPLES: u64 = 500;

/// Units for one call of the middle size, one every millisecond.
fn narrow() -> Result<Pool, SpecError> {
    let units = BucketSpec {
        name: "units".into(),
        resource: Resource::Units,
        capacity: 2_000_000,
        refill: Some(Refill {
            amount: 1_000_000_000,
            period: Duration::from_mins(1),
        }),
        threshold: 0,
        owner: Owner::Ours,
        enforcement: Enforcement::Named(Mode::Enforce),
    };
    Ok(Pool::new(
        PoolSpec::try_new("bench", vec![units])?,
        Monotonic(0),
    ))
}

/// Sizes over three orders of magnitude, as calls have them; all classes alike.
fn call(number: u64, users: &[UserSlot]) -> Waiting {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let units = 1_000 << (mixed % 10);
    let class = usize::try_from(number % 4).unwrap_or_default();
    let user = usize::try_from(mixed).unwrap_or_default() % users.len();
    Waiting {
        ask: Ask {
            need: Need {
                units: units + mixed % 1_000,
                ..Need::default()
            },
            priority: Priority::ALL[class],
            user: users[user],
            caller: Caller::Asking,
            queues: true,
        },
        since: Monotonic(number),
        warm: None,
    }
}

/// Operations of one kind, timed in batches.
struct Timed {
    name: &'static str,
    nanos: Vec<u64>,
}

impl Timed {
    /// Runs one batch per sample; the state between them is the caller's.
    fn run(name: &'static str, mut batch: impl FnMut(u64)) -> Self {
        let clock = SystemClock::start();
        let sample = |it| {
            let began = clock.monotonic();
            batch(it);
            let span = clock.monotonic().since(began).as_nanos();
            u64::try_from(span).unwrap_or(u64::MAX) / BATCH
        };
        let mut nanos: Vec<u64> = (0..SAMPLES).map(sample).collect();
        nanos.sort_unstable();
        Self { name, nanos }
    }

    #[expect(clippy::print_stdout, reason = "a bench reports on standard output")]
    fn tell(&self) {
        let at = |hundredth: usize| self.nanos[self.nanos.len() / 100 * hundredth];
        println!("{}: {} ns, p99 {} ns", self.name, at(50), at(99));
    }
}

fn main() -> Result<(), SpecError> {
    let mut pool = narrow()?;
    let names = (0..USERS).map(|it| format!("user-{it}"));
    let users: Vec<_> = names
        .map(|it| pool.user("acme", &it, Monotonic(0)))
        .collect();
    let mut queue = Queue::default();
    let mut now = Monotonic(WAITING * 1_000_000);
    let mut tickets: Vec<Ticket> = Vec::new();
    for number in 0..WAITING {
        tickets.extend(queue.enter(call(number, &users), &pool, now));
    }
    let mut coming = WAITING;
    Timed::run("come and leave", |_| {
        for _ in 0..BATCH {
            coming += 1;
            let came = queue.enter(black_box(call(coming, &users)), &pool, now);
            let _left = came.map(|it| queue.leave(it));
        }
    })
    .tell();
    Timed::run("place and estimate", |sample| {
        for it in 0..BATCH {
            let which = (sample * BATCH + it).wrapping_mul(7_919) % WAITING;
            let ticket = tickets[usize::try_from(which).unwrap_or_default()];
            black_box(queue.outlook(ticket, &pool, now));
        }
    })
    .tell();
    Timed::run("look while nobody fits", |_| {
        for _ in 0..BATCH {
            drain(&mut queue, &mut pool, now);
        }
    })
    .tell();
    let mut turns = 0;
    Timed::run("a turn", |_| {
        let until = turns + BATCH;
        while turns < until {
            match queue.next(&mut pool, now) {
                Next::Fits(ticket, cleared) => {
                    let taken = pool.commit(cleared, now);
                    queue.started(ticket, now);
                    let need = Need::default();
                    queue.settled(&taken, &need, &pool);
                    pool.settle(taken, &need, now);
                    turns += 1;
                }
                Next::Never(ticket, _) => {
                    queue.leave(ticket);
                }
                Next::Nobody { at } => now = at.unwrap_or(now.after(Duration::from_millis(1))),
            }
        }
    })
    .tell();
    Ok(())
}

/// Takes whoever fits, and gives nothing back.
fn drain(queue: &mut Queue, pool: &mut Pool, now: Monotonic) {
    while let Next::Fits(ticket, cleared) = queue.next(pool, now) {
        let _spent = pool.commit(cleared, now);
        queue.started(ticket, now);
    }
}
