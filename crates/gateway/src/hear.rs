//! What the head of a provider's answer says of its limits, passed on to the engine.

use http::{HeaderValue, Response, header};
use tokio::time::error::Elapsed;

use crate::{
    flying::Flying,
    gateway::Gateway,
    upstream::{AnswerBody, SendError},
};

impl Gateway {
    /// Before the answer is looked at any closer: what comes of it does not change what was said.
    pub(crate) fn hear(
        &self,
        flying: &mut Flying,
        answer: &Result<Result<Response<AnswerBody>, SendError>, Elapsed>,
    ) {
        let Some(in_flight) = flying.in_flight() else {
            return;
        };
        match answer {
            Ok(Ok(answer)) => {
                let headers = answer.headers().iter();
                let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
                let date = answer.headers().get(header::DATE);
                let head = (answer.status().as_u16(), date.map(HeaderValue::as_bytes));
                self.engine.heard(in_flight, head, headers);
            }
            Ok(Err(_)) | Err(_) => self.engine.unheard(in_flight),
        }
    }
}
