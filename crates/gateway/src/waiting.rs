//! A call waits for its turn, or for somebody's yes, and is sent away with its place kept where that
//! takes longer than its client can be held.

use std::{sync::Arc, time::Duration};

use tidegate_engine::{
    Engine,
    approvals::{Approval, Parked},
    call::Routed,
    gate::Turn,
    places::PlaceKey,
    reserve::{Obstacle, Reserved},
    views::{Told, spoken},
    waiting::{Outlook, Waiting},
};
use tidegate_ledger::Shortage;
use tidegate_observe::{
    calls::{CallRecord, Outcome},
    record::rfc3339_seconds,
};
use tidegate_providers::{Refusal, refusal::CLAUDE_CODE_WAIT_MAX};

use crate::{
    gateway::{Call, Gateway, unread},
    hold::{Client, Opening},
    inlet::Held,
};

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
    /// Waits for the call's turn, and for whoever has to approve it, for as long as its client can be
    /// held. Its body is packed meanwhile.
    pub(crate) async fn in_turn(
        &self,
        call: &Call,
        routed: Box<Routed>,
        held: &mut Held,
        (key, opening): (PlaceKey, &Opening),
    ) -> Result<Reserved, NoTurn> {
        let client = self.client(call, &routed, opening);
        let turn = tokio::select! {
            biased;
            turn = self.decided(call, routed, key, client) => turn,
            never = held.packed(&self.inlet) => match never {},
        };
        self.unpacked(turn?, held).await
    }

    async fn decided(
        &self,
        call: &Call,
        mut routed: Box<Routed>,
        key: PlaceKey,
        mut client: Client<'_>,
    ) -> Result<Reserved, NoTurn> {
        loop {
            match self.turn(call, routed, key, &mut client).await {
                Err(NoTurn::Refused(unapproved, Obstacle::Approval(shortage))) => {
                    routed = self.approved(unapproved, &shortage, client.left()).await?;
                }
                other => return other,
            }
        }
    }

    /// Has the body of a call whose turn has come as it was read.
    async fn unpacked(&self, reserved: Reserved, held: &mut Held) -> Result<Reserved, NoTurn> {
        if !held.is_packed() {
            return Ok(reserved);
        }
        // Its client may go meanwhile.
        let mut unsent = Unsent {
            engine: Arc::clone(&self.engine),
            reserved: Some(reserved),
        };
        let unpacked = held.unpack(&self.inlet, |bytes| self.make_room(bytes));
        let unpacked = unpacked.await;
        let Some(reserved) = unsent.reserved.take() else {
            unreachable!("nothing but this and its end takes it")
        };
        match unpacked {
            Ok(()) => Ok(reserved),
            Err(error) => {
                self.engine.give_back(reserved.holding);
                let record = reserved.routed.call.record;
                Err(NoTurn::SentAway(record, unread(&error)))
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
        client: &mut Client<'_>,
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
        let mut longer = outlook.map(|it| it.p90).max(waiting.cooling()).max(least);
        let mut holds = longer.is_none_or(|it| client.can_wait(it));
        let away = waiting.away();
        while holds {
            tokio::select! {
                biased;
                turn = waiting.turn() => return taken(turn, began.elapsed()),
                () = tokio::time::sleep(client.quiet()) => {}
                () = away.notified() => holds = false,
            }
            outlook = waiting.outlook();
            longer = outlook.map(|it| it.p90).max(waiting.cooling());
            holds = holds && client.hold_on(longer.unwrap_or_default());
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
                let sentence = sentence(told, outlook, wait);
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

/// A turn whose call is not sent yet. Dropped, everything is given back, since its client has gone.
struct Unsent {
    engine: Arc<Engine>,
    reserved: Option<Reserved>,
}

impl Drop for Unsent {
    fn drop(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            self.engine.give_back(reserved.holding);
            let mut record = reserved.routed.call.record;
            record.outcome = Outcome::ClientGone;
            self.engine.finish(record);
        }
    }
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

/// Why it waits, and that nothing is lost by coming back; and when, where those before it make that later
/// than the limit alone does.
fn sentence(told: Option<Told>, outlook: Option<Outlook>, wait: Duration) -> String {
    let alone = told.as_ref().and_then(|it| it.wait);
    let why = told.map_or_else(|| "this call waits".to_owned(), |it| it.sentence);
    let place = outlook.map_or_else(String::new, |it| format!(", {} of {},", it.place, it.of));
    let turn = match alone {
        Some(alone) if wait > alone && spoken(wait) != spoken(alone) => {
            format!(", and its turn is in about {}", spoken(wait))
        }
        _ => String::new(),
    };
    format!("{why} · its place in the queue{place} is kept for the same request{turn}")
}
