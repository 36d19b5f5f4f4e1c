//! Answers that are not streamed.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tidegate_engine::{
    account::{self, QuotaKind},
    flight::End,
};
use tidegate_observe::{
    calls::{CallRecord, Outcome},
    event,
};
use tidegate_providers::{Dialect, Meter, Metered, Refusal, meter};
use tokio::time::Instant;

use crate::{
    flying::Flying,
    gateway::Gateway,
    quota::Quota,
    relay::{Relay, Relaying},
    reply::ReplyBody,
    upstream::AnswerBody,
};

impl Gateway {
    /// An answer that is not streamed is read whole, so that one that breaks off can be told from
    /// one that doesn't; one too long for that is relayed as it comes.
    pub(crate) async fn whole(
        &self,
        about: Relaying,
        mut body: AnswerBody,
        mut flying: Flying,
    ) -> Result<ReplyBody, (Box<CallRecord>, Refusal)> {
        let quota = match flying.in_flight() {
            Some(in_flight) => Quota::of(in_flight, Instant::now()),
            None => Quota::none(Instant::now()),
        };
        let mut pieces: Vec<Bytes> = Vec::new();
        let mut length = 0;
        loop {
            let until = quota.next_look(Instant::now() + about.silence_max);
            let next = tokio::time::timeout_at(until, body.next()).await;
            match next {
                Ok(Some(Ok(piece))) => {
                    length += piece.len();
                    pieces.push(piece);
                    if length > meter::WHOLE_BYTES_MAX {
                        let mut relay = Relay::new(about, body, flying);
                        for piece in pieces {
                            relay.take(piece);
                        }
                        return Ok(ReplyBody::Relayed(Box::new(relay)));
                    }
                }
                Ok(None) => break,
                Err(_) if quota.ends_at <= Instant::now() => {
                    return Err(over_time(&mut flying, about.status, about.request_id));
                }
                Ok(Some(Err(_))) | Err(_) => {
                    let came = joined(pieces, length);
                    return Err(self.broke_off(about, &came, &mut flying));
                }
            }
        }
        let bytes = joined(pieces, length);
        if let Some(in_flight) = flying.land() {
            let failed = about.status >= 400;
            let metered = (!failed).then(|| metered(about.dialect, &bytes));
            let (_record, to_journal) = in_flight.settle_queued(End {
                outcome: if failed {
                    Outcome::UpstreamError
                } else {
                    Outcome::Answered
                },
                status: about.status,
                metered,
                answer_bytes: length as u64,
                request_id: about.request_id,
            });
            // Others have something for the journal too: one write takes it all.
            tokio::task::yield_now().await;
            drop(to_journal);
        }
        Ok(ReplyBody::whole(bytes))
    }

    fn broke_off(
        &self,
        about: Relaying,
        came: &[u8],
        flying: &mut Flying,
    ) -> (Box<CallRecord>, Refusal) {
        let Some(in_flight) = flying.land() else {
            unreachable!("nothing but this takes it down before the answer is whole")
        };
        let record = in_flight.record();
        self.engine.report(&event::UpstreamLost {
            call: record.id,
            platform: &record.platform,
            reason: "the connection was lost",
            answer_bytes: 0,
        });
        let identified = in_flight.abandon(&End {
            outcome: Outcome::UpstreamLost,
            status: about.status,
            metered: Some(metered(about.dialect, came)),
            answer_bytes: 0,
            request_id: about.request_id,
        });
        let mut record = identified.record;
        record.outcome = Outcome::UpstreamLost;
        let sentence = "the upstream connection was lost in the middle of the answer".to_owned();
        (record, Refusal::UpstreamUnreachable { sentence })
    }
}

/// Ends a call whose task's time is over before there is an answer to shorten. Its connection is closed, which
/// ends the generation; what it may have cost is accounted.
pub(crate) fn over_time(
    flying: &mut Flying,
    status: u16,
    request_id: Option<Arc<str>>,
) -> (Box<CallRecord>, Refusal) {
    let Some(in_flight) = flying.land() else {
        unreachable!("nothing but this takes it down before the answer is whole")
    };
    let limit = account::name(in_flight.sizes.time.scope, QuotaKind::TaskTime);
    let outcome = Outcome::Ended {
        limit: limit.as_str().into(),
    };
    let identified = in_flight.abandon(&End {
        outcome: outcome.clone(),
        status,
        metered: None,
        answer_bytes: 0,
        request_id,
    });
    let mut record = identified.record;
    record.outcome = outcome;
    let sentence = format!(
        "quota `{limit}`: this task's time is over before its answer was whole · begin another task, or raise \
         `quotas.{limit}`"
    );
    (record, Refusal::NeverFits { sentence })
}

fn metered(dialect: Dialect, bytes: &[u8]) -> Metered {
    let mut meter = Meter::new(dialect, false);
    meter.observe(bytes);
    meter.finish()
}

/// The pieces of an answer as one.
pub(crate) fn joined(mut pieces: Vec<Bytes>, length: usize) -> Bytes {
    if pieces.len() == 1 {
        return pieces.remove(0);
    }
    let mut whole = BytesMut::with_capacity(length);
    for piece in &pieces {
        whole.extend_from_slice(piece);
    }
    whole.freeze()
}
