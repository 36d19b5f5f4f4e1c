//! What senders are told, in both forms.

use serde_json::json;

use crate::{
    decode::Signal,
    error::Refusal,
    receiver::Taken,
    wire::{close, open, put_bytes, put_number},
};

/// `Export…ServiceResponse`: empty, or with what was rejected.
pub(crate) fn taken(it: &Taken) -> Vec<u8> {
    let mut out = Vec::new();
    if it.rejected > 0 {
        let partial = open(&mut out, 1);
        put_number(&mut out, 1, it.rejected);
        put_bytes(&mut out, 2, it.reason.as_bytes());
        close(&mut out, partial);
    }
    out
}

/// The same in JSON.
pub(crate) fn taken_json(it: &Taken, signal: Signal) -> String {
    if it.rejected == 0 {
        return "{}".to_owned();
    }
    let name = match signal {
        Signal::Logs => "rejectedLogRecords",
        Signal::Traces => "rejectedSpans",
        Signal::Metrics => "rejectedDataPoints",
    };
    let partial = json!({ name: it.rejected.to_string(), "errorMessage": it.reason });
    json!({ "partialSuccess": partial }).to_string()
}

/// `google.rpc.Status`, with `RetryInfo` where a retry helps.
pub(crate) fn status(refusal: &Refusal, sentence: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, 1, refusal.code().number());
    put_bytes(&mut out, 2, sentence.as_bytes());
    if let Some(wait) = refusal.retry_after() {
        let any = open(&mut out, 3);
        put_bytes(&mut out, 1, b"type.googleapis.com/google.rpc.RetryInfo");
        let info = open(&mut out, 2);
        let delay = open(&mut out, 1);
        put_number(&mut out, 1, wait.as_secs());
        put_number(&mut out, 2, u64::from(wait.subsec_nanos()));
        close(&mut out, delay);
        close(&mut out, info);
        close(&mut out, any);
    }
    out
}

/// The same in JSON, without details.
pub(crate) fn status_json(refusal: &Refusal, sentence: &str) -> String {
    json!({ "code": refusal.code().number(), "message": sentence }).to_string()
}
