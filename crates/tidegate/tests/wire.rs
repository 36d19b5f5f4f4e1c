//! What goes over the wire: a client's calls, and their answers as they come.

use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpStream},
};

use http::HeaderMap;
use serde_json::{Value, json};
use ureq::{Agent, Body};

use crate::world::{Gateway, PATIENCE};

/// A credential of a caller's own; it belongs to nobody.
pub(crate) const OWN_KEY: (&str, &str) = ("x-api-key", "sk-ant-api03-of-nobody");

/// The login of a subscription that nobody has.
pub(crate) const LOGIN: (&str, &str) = ("authorization", "Bearer sk-ant-oat01-of-nobody");

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|it| panic!("{it}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|it| it.to_str().unwrap())
    }
}

/// A call of the Messages API that answers what `prompt` directs.
pub(crate) fn message(prompt: &str) -> Value {
    json!({
        "model": "claude-opus-5-5",
        "max_tokens": 1_000,
        "messages": [{ "role": "user", "content": prompt }],
    })
}

fn agent() -> Agent {
    Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .new_agent()
}

fn whole(answer: Result<http::Response<Body>, ureq::Error>) -> Reply {
    let (parts, mut body) = answer.unwrap().into_parts();
    Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        text: body.read_to_string().unwrap(),
    }
}

/// Gets something.
pub(crate) fn get(at: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = agent().get(format!("http://{at}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    whole(request.call())
}

/// Posts a body and reads the whole answer.
pub(crate) fn post(at: SocketAddr, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
    whole(send(at, path, headers, body))
}

fn send(
    at: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Result<http::Response<Body>, ureq::Error> {
    let mut request = agent().post(format!("http://{at}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
        .header("content-type", "application/json")
        .send(body.to_string())
}

/// Calls a model whose answer streams, and waits for its first event.
pub(crate) fn stream(at: SocketAddr, headers: &[(&str, &str)], prompt: &str) -> Stream {
    let mut body = message(prompt);
    body["stream"] = true.into();
    let answer = send(at, "/v1/messages", headers, &body).unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let mut stream = Stream {
        lines: BufReader::new(answer.into_body().into_reader()),
        text: String::new(),
    };
    assert!(stream.next(), "no event came");
    stream
}

impl Gateway {
    /// Calls a model.
    pub(crate) fn call(&self, headers: &[(&str, &str)], prompt: &str) -> Reply {
        post(self.address, "/v1/messages", headers, &message(prompt))
    }

    /// Calls a model whose answer streams, and waits for its first event.
    pub(crate) fn stream(&self, headers: &[(&str, &str)], prompt: &str) -> Stream {
        stream(self.address, headers, prompt)
    }

    /// Whether anybody listens there.
    pub(crate) fn listens(&self) -> bool {
        TcpStream::connect(self.address).is_ok()
    }
}

/// An answer that comes piece by piece.
pub(crate) struct Stream {
    lines: BufReader<ureq::BodyReader<'static>>,
    text: String,
}

impl Stream {
    fn next(&mut self) -> bool {
        matches!(self.lines.read_line(&mut self.text), Ok(1..))
    }

    /// Reads to its end, however that comes.
    pub(crate) fn end(mut self) -> String {
        while self.next() {}
        self.text
    }
}

/// Whether a stream ended as streams of the Messages API do.
pub(crate) fn is_complete(stream: &str) -> bool {
    stream.contains("event: message_stop") && !stream.contains("event: error")
}
