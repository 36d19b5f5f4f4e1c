//! Callers who never rest: gateway calls, streamed and not, and admissions that are settled, released or kept.

use std::{
    io,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use serde_json::Value;

use super::super::wire::{self, Answer, Line};
use crate::auditor::Seen;

/// Callers of each kind.
const STREAMING: u64 = 3;
const WHOLE: u64 = 2;
const ASKING: u64 = 3;

/// Refusals after which the callers go on to the next task: by then the limit has been felt.
const REFUSALS_PER_TASK: u64 = 12;

/// What a gateway call asks for: 8,000 tokens of output at $20 per million.
const MAX_TOKENS: u64 = 8_000;
const OUTPUT_NANOS: u64 = 20_000;

/// No input token of the model costs more, cached or not.
const INPUT_NANOS_MAX: u64 = 8_000;

/// The work of one round, shared by its callers.
#[derive(Debug)]
pub(super) struct Work {
    address: String,
    round: u32,
    refusals: AtomicU64,
    outputs: AtomicU64,
}

/// What one caller knows when its connection is gone.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// Answers that came whole.
    pub(super) seen: Vec<Seen>,
    /// The request that was under way, if one was.
    pub(super) in_flight: Option<InFlight>,
    /// Reservations that it holds and has not tried to end.
    pub(super) kept: Vec<String>,
    pub(super) refusals: u64,
}

/// A request of which the end was not seen.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    pub(super) task: String,
    /// The most it can cost, in nano-dollars; nothing where it ends a reservation.
    pub(super) bound: u64,
    /// It asks for a reservation to hold, which stays its holder's after a restart; else it is a call of the gateway's,
    /// of which nobody knows then what it cost.
    pub(super) holds: bool,
    /// The reservation it would have ended.
    pub(super) ends: Option<String>,
}

impl Work {
    pub(super) fn new(address: &str, round: u32) -> Self {
        Self {
            address: address.to_owned(),
            round,
            refusals: AtomicU64::new(0),
            outputs: AtomicU64::new(0),
        }
    }

    /// The callers, who work until their connection breaks. Each tells `event` of every answer.
    pub(super) fn callers(&self) -> impl Iterator<Item = Caller<'_>> {
        let kinds = [
            (STREAMING, Kind::Streaming),
            (WHOLE, Kind::Whole),
            (ASKING, Kind::Asking),
        ];
        let each = kinds
            .into_iter()
            .flat_map(|(many, kind)| (0..many).map(move |_| kind));
        each.map(|kind| Caller { work: self, kind })
    }

    /// The task that calls are made for now.
    pub(super) fn task(&self) -> String {
        let part = self.refusals.load(Ordering::Relaxed) / REFUSALS_PER_TASK;
        format!("round-{}-{part}", self.round)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Streaming,
    Whole,
    Asking,
}

/// Somebody with a connection.
#[derive(Debug)]
pub(super) struct Caller<'a> {
    work: &'a Work,
    kind: Kind,
}

impl Caller<'_> {
    /// Works until the gateway is gone. Any answer but those that are due is returned as an error.
    pub(super) fn work(&self, events: &mpsc::Sender<()>) -> (Witness, Option<String>) {
        let mut witness = Witness::default();
        let Ok(mut line) = Line::open(&self.work.address) else {
            return (witness, None);
        };
        for number in 0_u64.. {
            let done = match self.kind {
                Kind::Asking => self.ask(&mut line, &mut witness, number),
                Kind::Streaming | Kind::Whole => self.call(&mut line, &mut witness),
            };
            match done {
                Ok(Ok(())) => {}
                Ok(Err(strange)) => return (witness, Some(strange)),
                Err(_gone) => break,
            }
            if events.send(()).is_err() {
                break;
            }
        }
        (witness, None)
    }

    /// One gateway call.
    fn call(&self, line: &mut Line, witness: &mut Witness) -> io::Result<Result<(), String>> {
        let (task, output) = (
            self.work.task(),
            self.work.outputs.fetch_add(1, Ordering::Relaxed) + 1,
        );
        let stream = self.kind == Kind::Streaming;
        let body = format!(
            r#"{{"model":"claude-opus-5-5","max_tokens":{MAX_TOKENS},"stream":{stream},"messages":[{{"role":"user","content":"go on"}}]}}"#
        );
        let headers = [
            "x-api-key: sk-ant-api03-crash".to_owned(),
            "anthropic-version: 2023-06-01".to_owned(),
            format!("x-tidegate-task: {task}"),
            format!("x-sim-usage: input=9,output={output}"),
        ];
        let headers = headers.each_ref().map(String::as_str);
        witness.in_flight = Some(InFlight {
            task: task.clone(),
            bound: body.len() as u64 * INPUT_NANOS_MAX + MAX_TOKENS * OUTPUT_NANOS,
            holds: false,
            ends: None,
        });
        let answer = line.call(&wire::request("POST", "/v1/messages", &headers, &body))?;
        if stream && answer.status == 200 && !answer.text().contains("message_stop") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        witness.in_flight = None;
        Ok(match answer.status {
            200 => {
                witness.seen.push(Seen::Completed { task, output });
                Ok(())
            }
            429 => self.refused(witness),
            _ => Err(strange(&answer)),
        })
    }

    /// One admission; of five, two are settled, one is released, and of the others one is settled late.
    fn ask(
        &self,
        line: &mut Line,
        witness: &mut Witness,
        number: u64,
    ) -> io::Result<Result<(), String>> {
        const ASKED: u64 = 50_000_000;
        let task = self.work.task();
        let body = format!(r#"{{"cost_usd":"0.05","task":"{task}"}}"#);
        let under_way = |ends: Option<String>| InFlight {
            task: task.clone(),
            bound: if ends.is_none() { ASKED } else { 0 },
            holds: true,
            ends,
        };
        witness.in_flight = Some(under_way(None));
        let answer = line.call(&wire::request("POST", "/api/v1/admissions", &[], &body))?;
        witness.in_flight = None;
        let Ok(told) = answer.json() else {
            return Ok(Err(strange(&answer)));
        };
        let Some(reservation) = told["reservation"].as_str() else {
            return Ok(self.refused(witness));
        };
        witness.seen.push(Seen::Approved {
            reservation: reservation.to_owned(),
            nanos: ASKED.into(),
        });
        witness.kept.push(reservation.to_owned());
        let (settle, which) = match number % 5 {
            0 | 1 => (true, witness.kept.pop()),
            2 => (false, witness.kept.pop()),
            3 if witness.kept.len() > 1 => (true, Some(witness.kept.remove(0))),
            _ => return Ok(Ok(())),
        };
        let Some(which) = which else {
            return Ok(Ok(()));
        };
        witness.in_flight = Some(under_way(Some(which.clone())));
        let answer = line.call(&ending(&which, settle, number))?;
        witness.in_flight = None;
        Ok(match answer.json() {
            Ok(told) => {
                witness.seen.push(ended(which, settle, &told));
                Ok(())
            }
            Err(_) => Err(strange(&answer)),
        })
    }

    #[expect(clippy::unnecessary_wraps, reason = "stands where an outcome does")]
    fn refused(&self, witness: &mut Witness) -> Result<(), String> {
        witness.refusals += 1;
        self.work.refusals.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The request that settles or releases.
fn ending(reservation: &str, settle: bool, number: u64) -> Vec<u8> {
    let how = if settle { "settle" } else { "release" };
    let path = format!("/api/v1/reservations/{reservation}/{how}");
    let body = format!(r#"{{"cost_usd":"0.0{:02}"}}"#, number % 50);
    wire::request("POST", &path, &[], if settle { &body } else { "" })
}

fn ended(reservation: String, settled: bool, told: &Value) -> Seen {
    let nanos = i128::from(told["cost"]["nano_usd"].as_i64().unwrap_or(-1));
    if settled {
        Seen::Settled { reservation, nanos }
    } else {
        Seen::Released { reservation }
    }
}

fn strange(answer: &Answer) -> String {
    format!("answered {}: {}", answer.status, answer.text())
}
