//! The buckets of one pool, and what a call takes from them (rules 3, 6).

use std::time::Duration;

use tidegate_types::Timestamp;

use super::{Bucket, Limit};
use crate::spec::LimitSpec;

#[derive(Clone, Debug)]
pub(super) struct Buckets {
    pub(super) requests: Bucket,
    pub(super) input: Bucket,
    pub(super) output: Bucket,
    pub(super) tokens: Bucket,
}

impl Buckets {
    pub(super) fn full(spec: &LimitSpec, now: Timestamp) -> Self {
        let bucket = |limit| Bucket::full(limit, spec.burst_seconds, now);
        Self {
            requests: bucket(spec.requests_per_minute),
            input: bucket(spec.input_tokens_per_minute),
            output: bucket(spec.output_tokens_per_minute),
            tokens: bucket(spec.tokens_per_minute),
        }
    }

    pub(super) fn refill(&mut self, now: Timestamp) {
        for bucket in [
            &mut self.requests,
            &mut self.input,
            &mut self.output,
            &mut self.tokens,
        ] {
            bucket.refill(now);
        }
    }

    /// One request and the estimate, if the output bucket owes nothing; all or nothing.
    pub(super) fn take_anthropic(&mut self, estimate: u64) -> Result<(), (Limit, Duration)> {
        longest([
            (Limit::Requests, self.requests.wait(1)),
            (Limit::InputTokens, self.input.wait(estimate)),
            (Limit::OutputTokens, self.output.until_out_of_debt()),
        ])?;
        self.requests.take(1);
        self.input.take(estimate);
        Ok(())
    }

    /// One request and the charge; the request is gone even where the charge does not fit.
    pub(super) fn take_openai(&mut self, charge: u64) -> Result<(), (Limit, Duration)> {
        let requests = self.requests.wait(1);
        let outcome = longest([
            (Limit::Requests, requests),
            (Limit::Tokens, self.tokens.wait(charge)),
        ]);
        if requests.is_zero() {
            self.requests.take(1);
        }
        if outcome.is_ok() {
            self.tokens.take(charge);
        }
        outcome
    }
}

fn longest<const N: usize>(waits: [(Limit, Duration); N]) -> Result<(), (Limit, Duration)> {
    let longest = waits.into_iter().max_by_key(|it| it.1);
    match longest.filter(|it| !it.1.is_zero()) {
        Some(longest) => Err(longest),
        None => Ok(()),
    }
}
