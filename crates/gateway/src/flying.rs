//! Calls that end in the books whatever becomes of them: a client that hangs up drops the future that
//! serves it, at whatever point that is.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tidegate_engine::{
    Engine,
    call::Routed,
    flight::{End, InFlight, Sending, Unbookable},
};
use tidegate_observe::calls::Outcome;

/// A call whose beginning is on its way into the journal, and which goes when it is there. Dropped
/// before, it ends as one of which nothing was sent.
pub(crate) struct Leaving<'a> {
    sending: Option<Sending>,
    engine: &'a Engine,
    closing: &'a Arc<AtomicBool>,
}

impl<'a> Leaving<'a> {
    pub(crate) const fn new(
        sending: Sending,
        engine: &'a Engine,
        closing: &'a Arc<AtomicBool>,
    ) -> Self {
        Self {
            sending: Some(sending),
            engine,
            closing,
        }
    }

    /// Lets it go. Waits for the journal, unless others have written by now.
    pub(crate) fn sent(&mut self) -> Result<InFlight, (Box<Routed>, Unbookable)> {
        match self.sending.take() {
            Some(sending) => sending.sent(),
            None => unreachable!("it goes once"),
        }
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        match self.sending.take().map(Sending::sent) {
            Some(Ok(in_flight)) => drop(Flying::new(in_flight, Arc::clone(self.closing))),
            Some(Err((routed, _unbookable))) => {
                let mut record = routed.call.record;
                record.outcome = abandoned(self.closing);
                self.engine.finish(record);
            }
            None => {}
        }
    }
}

/// A call in flight, whose end is booked whatever becomes of it.
pub(crate) struct Flying {
    in_flight: Option<InFlight>,
    /// The program is being stopped: who drops the call is not the client.
    closing: Arc<AtomicBool>,
    /// The request was handed to a connection, which may have written of it since.
    sent: AtomicBool,
}

impl fmt::Debug for Flying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flying")
    }
}

impl Flying {
    pub(crate) const fn new(in_flight: InFlight, closing: Arc<AtomicBool>) -> Self {
        Self {
            in_flight: Some(in_flight),
            closing,
            sent: AtomicBool::new(false),
        }
    }

    pub(crate) const fn in_flight(&mut self) -> Option<&mut InFlight> {
        self.in_flight.as_mut()
    }

    pub(crate) const fn land(&mut self) -> Option<InFlight> {
        self.in_flight.take()
    }

    /// To be set as soon as anything of the request may be on its way.
    pub(crate) const fn sent(&self) -> &AtomicBool {
        &self.sent
    }

    /// Whether calls are being cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// What it means that nobody wants the answer any more.
    pub(crate) fn abandoned(&self) -> Outcome {
        abandoned(&self.closing)
    }
}

/// What it means that nobody wants an answer any more.
fn abandoned(closing: &AtomicBool) -> Outcome {
    if closing.load(Ordering::Relaxed) {
        Outcome::Interrupted
    } else {
        Outcome::ClientGone
    }
}

/// The client hung up before there was an answer, and took the future that would have made it.
/// Where that was still looking for a connection, nothing is owed.
impl Drop for Flying {
    fn drop(&mut self) {
        let outcome = self.abandoned();
        let Some(in_flight) = self.in_flight.take() else {
            return;
        };
        if self.sent.load(Ordering::Relaxed) {
            in_flight.settle(End {
                outcome,
                status: 0,
                metered: None,
                answer_bytes: 0,
                request_id: None,
            });
        } else {
            in_flight.release(outcome);
        }
    }
}
