//! A call is held while it waits for its turn: its client sees nothing but a slow answer.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use tidegate_engine::{
    approvals::{Approval, Parked},
    call::{Identified, Routed},
    gate::Turn,
    places::PlaceKey,
    reserve::{Obstacle, Reserved},
    views::Told,
    waiting::{Outlook, Waiting},
};
use tidegate_ledger::Shortage;
use tidegate_observe::{
    calls::{CallRecord, Outcome},
    record::rfc3339_seconds,
};
use tidegate_providers::{Refusal, refusal::CLAUDE_CODE_WAIT_MAX};

use crate::{
    gateway::{Call, Gateway},
    headers::text,
    inlet::Held,
};

/// How long Claude Code waits for the head of an answer before it asks again: some six minutes. What
/// the provider then takes to begin must fit in, too.
const CLAUDE_CODE_PATIENCE: Duration = Duration::from_secs(230);

/// How long SDKs wait where they don't say: ten minutes for the whole answer.
const SDK_TIMEOUT: Duration = Duration::from_mins(10);

/// What of that the answer itself may take.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// The shortest wait that a client is told: asking again at once would find nothing changed.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// How a wait ended without a turn.
pub(crate) enum NoTurn {
    /// Something that no wait helps against.
    Refused(Box<Routed>, Obstacle),
    /// It would take longer than the client has patience: it comes back, and its place is kept.
    SentAway(Box<CallRecord>, Refusal),
}

impl Gateway {
    /// By what a client is known when it comes back after it was sent away.
    pub(crate) fn place_key(identified: &Identified, held: &Held) -> PlaceKey {
        let record = &identified.record;
        PlaceKey::of(
            &record.organisation,
            &record.user,
            &identified.tracked,
            &held.bytes,
        )
    }

    /// Waits for the call's turn, and for whoever has to approve it, for as long as its client has
    /// patience.
    pub(crate) async fn in_turn(
        &self,
        call: &Call,
        mut routed: Box<Routed>,
        key: PlaceKey,
    ) -> Result<Reserved, NoTurn> {
        let began = tokio::time::Instant::now();
        let said = routed.call.max_wait;
        let patience = said.unwrap_or_else(|| patience(call.claude_code, &call.parts.headers));
        // A task that has to be done by then gains nothing from a turn that comes later.
        let deadline = routed.call.record.deadline;
        let in_time = deadline.map(|it| it.since(self.engine.now().wall));
        let patience = in_time.map_or(patience, |it| it.min(patience));
        loop {
            let left = patience.saturating_sub(began.elapsed());
            match self.turn(call, routed, key, left).await {
                Err(NoTurn::Refused(unapproved, Obstacle::Approval(shortage))) => {
                    let left = patience.saturating_sub(began.elapsed());
                    routed = self.approved(unapproved, &shortage, left).await?;
                }
                other => return other,
            }
        }
    }

    /// Waits for somebody to approve that a soft limit is passed.
    async fn approved(
        &self,
        mut routed: Box<Routed>,
        shortage: &Shortage,
        patience: Duration,
    ) -> Result<Box<Routed>, NoTurn> {
        let Some(mut parked) = self.engine.park(&routed, shortage) else {
            return Ok(routed); // Its path has changed meanwhile: it is reserved on the new one.
        };
        let began = tokio::time::Instant::now();
        let decided = async {
            tokio::select! {
                decided = parked.decided() => decided,
                () = self.engine.called_off(&routed) => false,
            }
        };
        let decided = tokio::time::timeout(patience, decided).await;
        let waited = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        routed.call.record.phases.wait += waited;
        if decided == Ok(true) {
            return Ok(routed);
        }
        if routed.is_called_off() {
            return Err(NoTurn::Refused(routed, Obstacle::TaskCancelled));
        }
        let mut record = routed.call.record;
        record.outcome = Outcome::Refused {
            limit: shortage.level.word().into(),
        };
        let sentence = unapproved(&parked);
        Err(NoTurn::SentAway(record, Refusal::Denied { sentence }))
    }

    async fn turn(
        &self,
        call: &Call,
        routed: Box<Routed>,
        key: PlaceKey,
        patience: Duration,
    ) -> Result<Reserved, NoTurn> {
        let waiting = self.engine.wait(routed, key);
        let mut waiting = waiting.map_err(|(routed, full)| NoTurn::Refused(routed, full))?;
        if let Some(turn) = waiting.turn_now() {
            return taken(turn, Duration::ZERO);
        }
        let began = tokio::time::Instant::now();
        let mut outlook = waiting.outlook();
        // What is told is the least that it has to wait.
        let least = waiting.told().and_then(|it| it.wait);
        if outlook
            .map(|it| it.p90)
            .max(waiting.cooling())
            .max(least)
            .is_none_or(|it| it <= patience)
        {
            let away = waiting.away();
            tokio::select! {
                biased;
                turn = waiting.turn() => return taken(turn, began.elapsed()),
                () = tokio::time::sleep(patience) => {}
                () = away.notified() => {}
            }
            outlook = waiting.outlook();
        }
        self.send_away(call, waiting, outlook).await
    }

    async fn send_away(
        &self,
        call: &Call,
        waiting: Waiting,
        outlook: Option<Outlook>,
    ) -> Result<Reserved, NoTurn> {
        let waited = waiting.waited();
        let told = waiting.told();
        let known = told.as_ref().and_then(|it| it.wait);
        let wait = outlook.map(|it| it.p50).max(known).max(Some(WAIT_MIN));
        let wait = wait.unwrap_or(WAIT_MIN);
        let back_in = if call.claude_code {
            wait.min(CLAUDE_CODE_WAIT_MAX)
        } else {
            wait
        };
        match waiting.keep(back_in).await {
            Ok(mut record) => {
                record.phases.wait = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
                let limit = told.as_ref().map(|it| Arc::clone(&it.limit));
                let limit = limit.unwrap_or_else(|| Arc::clone(&record.platform));
                record.outcome = Outcome::Refused { limit };
                let sentence = sentence(told, outlook);
                Err(NoTurn::SentAway(record, Refusal::Rate { sentence, wait }))
            }
            Err(turn) => taken(turn, waited),
        }
    }
}

fn taken(turn: Turn, waited: Duration) -> Result<Reserved, NoTurn> {
    match turn {
        Turn::Reserved(mut reserved) => {
            let waited = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
            reserved.routed.call.record.phases.wait += waited;
            Ok(*reserved)
        }
        Turn::Refused(routed, obstacle) => Err(NoTurn::Refused(routed, obstacle)),
    }
}

/// How long a client surely waits for the head of an answer.
///
/// Claude Code's was measured; SDKs made by Stainless say theirs, in seconds.
fn patience(claude_code: bool, headers: &HeaderMap) -> Duration {
    if claude_code {
        return CLAUDE_CODE_PATIENCE;
    }
    let seconds = |name| text(headers, name)?.parse::<f64>().ok();
    let said = seconds("x-stainless-read-timeout").or_else(|| seconds("x-stainless-timeout"));
    let said = said.and_then(|it| Duration::try_from_secs_f64(it).ok());
    let whole = said.unwrap_or(SDK_TIMEOUT).min(SDK_TIMEOUT);
    whole.saturating_sub(ANSWER_MAX.min(whole / 2))
}

/// Who may approve it, and how; or that somebody did not.
fn unapproved(parked: &Parked) -> String {
    let Approval {
        id,
        level,
        limit,
        spent,
        asked,
        until,
        ..
    } = &parked.approval;
    let level = level.kind.word();
    let until = rfc3339_seconds(*until);
    if parked.is_denied() {
        return format!(
            "budget `{level}` may not pass its soft limit of {limit}: request {id} was denied, which stands until {until}"
        );
    }
    format!(
        "budget `{level}` would pass its soft limit of {limit}: {spent} spent and expected, {asked} more expected of this call · request {id} is open until {until}: `tidegate approve {id}`, then send it again"
    )
}

/// Why it waits, and that nothing is lost by coming back.
fn sentence(told: Option<Told>, outlook: Option<Outlook>) -> String {
    let why = told.map_or_else(|| "this call waits".to_owned(), |it| it.sentence);
    let place = outlook.map_or_else(String::new, |it| format!(", {} of {},", it.place, it.of));
    format!("{why} · its place in the queue{place} is kept for the same request")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_what_the_client_says_less_what_the_answer_takes() {
        let of = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, http::HeaderValue::from_static(value));
            patience(false, &headers).as_secs_f64()
        };
        let exact = |said: f64, expected: f64| assert!((said - expected).abs() < 1e-9, "{said}");
        exact(of("x-stainless-timeout", "600"), 540.0);
        exact(of("x-stainless-read-timeout", "10.0"), 5.0);
        exact(of("x-stainless-timeout", "-4"), 540.0);
        exact(of("x-stainless-timeout", "NOT_GIVEN"), 540.0);
        exact(of("accept", "x"), 540.0);
        assert_eq!(patience(true, &HeaderMap::new()), CLAUDE_CODE_PATIENCE);
    }
}
