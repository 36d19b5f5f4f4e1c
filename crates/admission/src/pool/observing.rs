//! What providers say of their limits, followed: down at once, up by half the gap.

use arrayvec::ArrayVec;
use tidegate_types::Monotonic;

use super::{Pool, nanos};
use crate::{
    BUCKETS_MAX, Heard, Observation, Refused, Said, SavedMirror, Short, Taken,
    bucket::Bucket,
    flow::Flow,
    mirror::{Clean, STEP, Stated, Target, Word, counts_at_start},
};

/// A wait up to so many full refills is kept in the bucket; a longer one says that more than the
/// bucket is used up, and is kept by whoever keeps cooldowns.
const WAIT_TIMES_MAX: u64 = 2;

/// A refusal by so little, in millionths of the capacity, is one of the call's estimate, which the
/// word itself puts right; the refill is not to blame.
const NEAR_MISS_PPM: u64 = 20_000;

impl Pool {
    /// Follows what the head of an answer says of the provider's buckets. `taken` is what the call it
    /// answers holds; the order of those, which is the order of sending, decides which word is newer:
    /// an older one changes nothing.
    ///
    /// - What is left there, less what was sent since, lowers the level at once; it raises it by half
    ///   the gap, by all of it where nothing else is in flight.
    /// - A limit that differs from the capacity replaces it, and a reset too far ahead for the
    ///   configured refill replaces that.
    /// - A refusal empties the bucket that is short, so that the same call fits when it was told to
    ///   come again, and slows the refill to nine tenths if the bucket had not foreseen it; a tenth
    ///   comes back in ten minutes.
    /// - What keeps being missing is used by others on the same account: the refill is slowed by it.
    ///
    /// Figures that make no sense change nothing, and are counted.
    pub fn observe(&mut self, taken: &Taken, said: &Observation<'_>, now: Monotonic) -> Heard {
        let now = self.clock(now);
        self.sequence += 1;
        let sequence = self.sequence;
        let mut heard = Heard::default();
        let meant = said.said.iter();
        let meant = meant.filter_map(|it| Some((self.bucket_of(it)?, *it)));
        let meant: ArrayVec<_, BUCKETS_MAX> = meant.take(BUCKETS_MAX).collect();
        for (at, word) in &meant {
            let own = taken.charges.get(*at).map_or(0, |it| it.tokens);
            if let Some(bucket) = self
                .buckets
                .get_mut(*at)
                .filter(|it| it.knows(taken.sequence))
            {
                bucket.flow.advance(now);
                let word = One {
                    said: word,
                    all: said,
                    taken: taken.sequence,
                    own,
                    waits: !bucket.watches(taken.caller),
                };
                bucket.hear(&word, &mut heard, (sequence, now));
            }
        }
        if self.any_is_slow() {
            self.relax_at = self.relax_at.min(now.saturating_add(STEP));
        }
        heard
    }

    /// What was learned of each provider's bucket, for [`Self::restore_mirrors`].
    pub fn export_mirrors(&self) -> Vec<SavedMirror> {
        let live = self.buckets.iter().filter(|it| !it.is_retired());
        live.filter_map(|it| it.mirror.as_ref()?.save(&it.spec))
            .collect()
    }

    /// Goes on with what an earlier run learned of buckets that are configured as they were. Meant
    /// for a new pool, before its levels are restored.
    pub fn restore_mirrors(&mut self, saved: &[SavedMirror], now: Monotonic) {
        let now = self.clock(now);
        self.sequence += 1;
        let sequence = self.sequence;
        for bucket in self.buckets.iter_mut().filter(|it| !it.is_retired()) {
            let same = |it: &&SavedMirror| {
                it.bucket == bucket.spec.name && it.resource == bucket.spec.resource
            };
            let Some((saved, mirror)) = saved.iter().find(same).zip(bucket.mirror.as_mut()) else {
                continue;
            };
            if let Some(figures) = mirror.restore(saved, &bucket.spec) {
                let was_full = bucket.flow.level() >= bucket.flow.capacity();
                bucket.reshape(&figures, sequence);
                if was_full {
                    bucket.flow.raise_to(bucket.flow.capacity());
                }
            }
        }
        if self.any_is_slow() {
            self.relax_at = now.saturating_add(STEP);
        }
    }

    /// Lets the pace of slowed buckets come back.
    #[cold]
    pub(super) fn relax(&mut self) {
        let now = self.now;
        let steps = 1 + (now - self.relax_at) / STEP;
        for bucket in &mut self.buckets {
            if let Some(mirror) = bucket.mirror.as_mut().filter(|it| it.is_slow()) {
                bucket.flow.advance(now);
                mirror.relax(steps, now);
                bucket.set_pace();
            }
        }
        self.relax_at = if self.any_is_slow() {
            self.relax_at.saturating_add(steps.saturating_mul(STEP))
        } else {
            u64::MAX
        };
    }

    fn any_is_slow(&self) -> bool {
        let mut mirrors = self.buckets.iter().filter_map(|it| it.mirror.as_ref());
        mirrors.any(|it| it.is_slow())
    }

    /// The bucket that is meant: of those of the resource, the one whose capacity is nearest.
    fn bucket_of(&self, said: &Said) -> Option<usize> {
        let buckets = self.buckets.iter().enumerate();
        let meant = buckets.filter(|(_, it)| {
            !it.is_retired() && it.mirror.is_some() && it.spec.resource == said.resource
        });
        let distance = |it: &Bucket| {
            said.limit
                .map_or(0, |limit| limit.abs_diff(it.spec.capacity))
        };
        let nearest = meant.min_by_key(|(_, it)| distance(it));
        nearest.map(|(at, _)| at)
    }
}

/// One word, and what it was said to.
struct One<'a> {
    said: &'a Said,
    all: &'a Observation<'a>,
    /// The call's place in the order of sending, and what it took.
    taken: u64,
    own: u64,
    /// The bucket binds the call.
    waits: bool,
}

impl Bucket {
    fn hear(&mut self, one: &One<'_>, heard: &mut Heard, (sequence, now): (u64, u64)) {
        let Some(mut mirror) = self.mirror.take() else {
            return;
        };
        let (clean, nonsense) = mirror.clean(one.said, one.all.date);
        heard.nonsense += nonsense;
        let place = mirror.place(one.taken);
        let silent = clean.limit.or(clean.remaining).is_none();
        let Some(sent) = place.filter(|_| !silent && mirror.may_follow(one.all.of, one.taken, now))
        else {
            self.mirror = Some(mirror);
            return;
        };
        let figures = mirror.figures(&clean, &self.spec);
        self.mirror = Some(mirror);
        if let Some(figures) = figures {
            self.reshape(&figures, sequence);
            heard.replaced += 1;
        }
        let Some(mirror) = self.mirror.as_mut() else {
            return;
        };
        let mut foreseen = self.flow.level() < 0;
        if let Some(remaining) = clean.remaining {
            let stated = Stated {
                resource: self.spec.resource,
                remaining,
                level: self.flow.tokens(self.flow.level()),
                capacity: i128::from(self.spec.capacity),
            };
            let word = Word {
                remaining,
                sent: mirror.last_counted(sent, &stated, now),
                held: self.held,
            };
            let target = mirror.target(self.spec.resource, word);
            // A call that is refused is not counted, though it was taken here.
            let refused = one.all.refused.is_some();
            let uncounted = refused && counts_at_start(self.spec.resource);
            let own = if uncounted { one.own } else { 0 };
            let distance = distance(&self.flow, target.less(own), clean.grain);
            let error_ppm = mirror.note_error(distance, &self.flow);
            heard.error_ppm = heard.error_ppm.max(error_ppm);
            foreseen |= error_ppm <= NEAR_MISS_PPM;
            heard.followed += 1;
            if !refused {
                mirror.sample(&self.spec, &word, clean.grain, now);
            }
            self.follow(target, &clean, one.own, sequence);
        }
        if let Some(refused) = one.all.refused {
            let short = self.short(refused, one, &clean);
            if short.is_some() || one.all.said.len() == 1 {
                // Nothing left may be a debt, of which only the wait tells.
                let is_left = clean.remaining.is_some_and(|it| it >= clean.grain);
                let told = short.filter(|_| is_left && counts_at_start(self.spec.resource));
                let counts = told.map_or(one.own, |it| it.need);
                let why = (refused, counts);
                heard.slowed += u32::from(self.refuse(why, one, foreseen, sequence));
            }
            heard.short = heard.short.or(short.filter(|_| one.waits));
        }
        self.set_pace();
    }

    /// Down at once; up by half the gap, by all of it where nothing else is in flight.
    fn follow(&mut self, target: Target, clean: &Clean, own: u64, sequence: u64) {
        let slack = self.flow.cost(clean.grain / 2);
        let (highest, lowest) = (
            self.quanta_of(target.highest),
            self.quanta_of(target.lowest),
        );
        let level = self.flow.level();
        if level > highest.saturating_add(slack) {
            self.note_peak(sequence);
            self.flow.lower_to(highest);
        } else if level < lowest.saturating_sub(slack) && clean.remaining != Some(0) {
            let gap = lowest.saturating_sub(level);
            let alone = self.held <= own;
            let rise = if alone { gap } else { gap / 2 };
            self.flow.raise_to(level.saturating_add(rise));
        }
    }

    /// Whether this is the bucket that has too little for the call, and for how much it counts.
    fn short(&self, refused: Refused, one: &One<'_>, clean: &Clean) -> Option<Short> {
        let resource = self.spec.resource;
        let remaining = clean.remaining?;
        let wait = refused.retry_after.map_or(0, nanos);
        let refilled = self.flow.tokens(self.flow.refilled_in(wait)).max(0);
        let enough = remaining.saturating_add(u64::try_from(refilled).unwrap_or(u64::MAX));
        let expected = remaining < one.own.max(clean.grain);
        // It turned out larger than was expected of it, but not than it can be.
        let larger = enough <= refused.largest.of(resource) && counts_at_start(resource);
        (expected || larger).then_some(Short {
            resource,
            need: enough,
        })
    }

    /// Empties the bucket so far that a call that counts for so much fits when it was told to come again. Says
    /// whether its pace was slowed.
    fn refuse(
        &mut self,
        (refused, counts): (Refused, u64),
        one: &One<'_>,
        foreseen: bool,
        sequence: u64,
    ) -> bool {
        let resource = self.spec.resource;
        let (mut since, mut slowed) = (0, false);
        if let Some(mirror) = self.mirror.as_mut() {
            since = mirror.since(one.taken);
            mirror.note_refused(one.own, resource);
            slowed = !foreseen && mirror.slow(one.taken, sequence);
        }
        self.set_pace();
        let own = self.flow.cost(counts);
        // Without a time nothing is left, and what refills pays for the call.
        let mut level = refused.retry_after.map_or(0, |it| {
            let longest = self.flow.full_in_from(0).saturating_mul(WAIT_TIMES_MAX);
            let refilled = self.flow.refilled_in(nanos(it).min(longest));
            own.min(self.flow.capacity()).saturating_sub(refilled)
        });
        if !counts_at_start(resource) {
            // The call's end gives back what it took.
            level = level.saturating_sub(own);
        }
        // What was sent after it is not in the wait it was told.
        let level = level.saturating_sub(self.quanta_of(since));
        self.note_peak(sequence);
        self.flow.lower_to(level);
        self.flow.raise_to(level);
        slowed
    }

    fn quanta_of(&self, tokens: i128) -> i128 {
        tokens.saturating_mul(self.flow.cost(1))
    }
}

/// How far a level is from where the provider says it may be; what the word is rounded to is no
/// distance.
fn distance(flow: &Flow, target: Target, grain: u64) -> i128 {
    let each = flow.cost(1);
    let slack = flow.cost(grain / 2);
    let level = flow.level();
    let above = level.saturating_sub(target.highest.saturating_mul(each));
    let below = target.lowest.saturating_mul(each).saturating_sub(level);
    above.max(below).saturating_sub(slack).max(0)
}

#[cfg(test)]
mod tests;
