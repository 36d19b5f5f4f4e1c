//! A provider that says in its answers what it should keep to itself, as real ones do: a key it refuses, a prompt it quotes.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::Context as _;

use super::mark;

/// A body that is read whole: no request of the suite is longer.
const BODY_BYTES_MAX: u64 = 1024 * 1024;

/// Models that it knows, each a way to answer.
pub(super) const MODELS: [(&str, u16); 6] = [
    ("loose-whole", 200),
    ("loose-stream", 200),
    ("loose-error-event", 200),
    ("loose-refusal", 401),
    ("loose-limit", 429),
    ("loose-failure", 500),
];

/// One that answers nothing whole: its connection ends in the middle.
pub(super) const BREAKS: &str = "loose-breaks";

/// Listens until the program ends, and says where.
pub(super) fn start() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A client that is gone needs no answer.
            thread::spawn(move || answer(stream).ok());
        }
    });
    Ok(address)
}

/// Answers one request, and closes.
fn answer(stream: TcpStream) -> io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(digits) = line.strip_prefix("content-length:") {
            length = digits.trim().parse().map_err(io::Error::other)?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = String::new();
    let mut limited = from.take(u64::min(length, BODY_BYTES_MAX));
    limited.read_to_string(&mut body)?;
    let mut stream = stream;
    stream.write_all(said(&body).as_bytes())
}

/// The whole answer to a request's body, by the model it names.
fn said(body: &str) -> String {
    let known = MODELS.iter().find(|(model, _)| body.contains(model));
    let Some((model, status)) = known else {
        return cut();
    };
    let kind = if model.ends_with("stream") || model.ends_with("event") {
        "text/event-stream"
    } else {
        "application/json"
    };
    let text = match *model {
        "loose-whole" => whole(),
        "loose-stream" => stream("message_stop", r#"{"type":"message_stop"}"#),
        "loose-error-event" => stream("error", &error("api_error")),
        _ => error("authentication_error"),
    };
    let id = mark::key("RequestId");
    let reason = mark::text("Reason");
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\nrequest-id: {id}\r\nset-cookie: s={}\r\nx-told: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        mark::text("SetCookie"),
        mark::text("Header"),
        text.len(),
    )
}

fn whole() -> String {
    format!(
        r#"{{"id":"{}","type":"message","role":"assistant","model":"{}","content":[{{"type":"text","text":"{}"}}],"stop_reason":"end_turn","usage":{{"input_tokens":9,"output_tokens":3}}}}"#,
        mark::key("MessageId"),
        mark::key("AnsweringModel"),
        mark::text("WholeAnswer"),
    )
}

fn stream(last: &str, closing: &str) -> String {
    format!(
        "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"{}\",\"model\":\"{}\",\"usage\":{{\"input_tokens\":9,\"output_tokens\":1}}}}}}\n\n\
         event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{}\"}}}}\n\n\
         event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\"}},\"usage\":{{\"output_tokens\":3}}}}\n\n\
         event: {last}\ndata: {closing}\n\n",
        mark::key("StreamId"),
        mark::key("StreamingModel"),
        mark::text("StreamedAnswer"),
    )
}

/// Real ones quote the key they refuse, and some the request.
fn error(kind: &str) -> String {
    format!(
        r#"{{"type":"error","error":{{"type":"{kind}","message":"Incorrect API key provided: {}; the request was {}","code":"{}"}},"request_id":"{}"}}"#,
        mark::key("QuotedKey"),
        mark::text("QuotedPrompt"),
        mark::text("Code"),
        mark::key("ErrorId"),
    )
}

fn cut() -> String {
    let text = mark::text("CutAnswer");
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\nevent: {text}\n"
    )
}
