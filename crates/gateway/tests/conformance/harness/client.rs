//! A client of plain sockets, which can do what no HTTP library would.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
};

use rustix::net::SendFlags;

use super::world::{PATIENCE, World};

/// A request to be sent, byte for byte as it is written here.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A prompt as a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Ask {
    pub(crate) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: "POST",
            path: path.to_owned(),
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.into(),
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self {
            method: "GET",
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// `/v1/messages` with this prompt and the caller's own key.
    pub(crate) fn messages(prompt: &str, stream: bool) -> Self {
        Self::post(
            "/v1/messages",
            format!(
                r#"{{"model":"claude-opus-5-5","max_tokens":1000,"stream":{stream},"messages":[{{"role":"user","content":{}}}]}}"#,
                quoted(prompt)
            ),
        )
        .with("x-api-key", "sk-caller")
        .with("anthropic-version", "2023-06-01")
    }

    /// `/v1/chat/completions` with this prompt and the caller's own key.
    pub(crate) fn chat(prompt: &str, stream: bool) -> Self {
        Self::post(
            "/v1/chat/completions",
            format!(
                r#"{{"model":"gpt-5","max_completion_tokens":1000,"stream":{stream},"messages":[{{"role":"user","content":{}}}]}}"#,
                quoted(prompt)
            ),
        )
        .with("authorization", "Bearer sk-caller")
    }

    /// `/v1/responses` with this prompt and the caller's own key.
    pub(crate) fn responses(prompt: &str, stream: bool) -> Self {
        Self::post(
            "/v1/responses",
            format!(
                r#"{{"model":"gpt-5","max_output_tokens":1000,"stream":{stream},"input":{}}}"#,
                quoted(prompt)
            ),
        )
        .with("authorization", "Bearer sk-caller")
    }

    /// Each of the three dialects.
    pub(crate) fn in_all_dialects(prompt: &str, stream: bool) -> [Self; 3] {
        [
            Self::messages(prompt, stream),
            Self::chat(prompt, stream),
            Self::responses(prompt, stream),
        ]
    }

    /// Adds a header line.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves out all lines of a header.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(it, _)| it != name);
        self
    }

    /// The head alone.
    pub(crate) fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let has = |name: &str| self.headers.iter().any(|(it, _)| it == name);
        if !has("host") {
            head += "host: localhost\r\n";
        }
        if self.method == "POST" && !has("content-length") && !has("transfer-encoding") {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "\r\n"
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head().as_bytes(), &self.body].concat()
    }
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// As HTTP prescribes.
    Whole,
    /// The connection was closed or reset before that.
    Cut,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) ended: Ended,
}

impl Heard {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(it, _)| it == name);
        found.next().map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|it| panic!("{it}: {}", self.text()))
    }

    /// What the stream's events are called, in order, equal ones in a row once. Every event must be
    /// whole: its data is JSON, or the mark of a chat's end.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = String::from_utf8(self.body.clone()).unwrap();
        assert!(
            text.is_empty() || text.ends_with("\n\n"),
            "half an event: {text}"
        );
        let mut events: Vec<String> = Vec::new();
        for event in text.split("\n\n").filter(|it| !it.is_empty()) {
            // What a reader of events passes over.
            if event.lines().all(|it| it.starts_with(':')) {
                if events.last().is_none_or(|it| it != "comment") {
                    events.push("comment".to_owned());
                }
                continue;
            }
            let name = event.lines().find_map(|it| it.strip_prefix("event: "));
            let data = event.lines().find_map(|it| it.strip_prefix("data: "));
            let data = data.unwrap_or_else(|| panic!("an event without data: {event}"));
            if data == "[DONE]" {
                events.push(data.to_owned());
                continue;
            }
            let value: serde_json::Value = serde_json::from_str(data).unwrap();
            let name = match name {
                Some(name) => name.to_owned(),
                None if value.get("error").is_some() => "error".to_owned(),
                None => "chunk".to_owned(),
            };
            if events.last() != Some(&name) {
                events.push(name);
            }
        }
        events
    }
}

/// A connection to the gateway.
pub(crate) struct Client {
    stream: TcpStream,
    /// Read, and not yet used.
    ahead: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        // What is sent piece by piece arrives so.
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends and hangs up in one: both are there at the same time.
    pub(crate) fn send_and_go(self, bytes: &[u8]) {
        // Kept back until more comes, which is the end.
        let sent = rustix::net::send(&self.stream, bytes, SendFlags::MORE).unwrap();
        assert_eq!(sent, bytes.len());
    }

    /// Sends as much as the other side takes.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Says that nothing more is sent, and goes on reading.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads on; false where the other side has ended or broken the connection.
    fn more(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(length) => {
                self.ahead.extend_from_slice(&piece[..length]);
                true
            }
            Err(error) if is_timeout(error.kind()) => panic!("nothing came: {error}"),
            Err(_) => false,
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.ahead.split_off(length);
        std::mem::replace(&mut self.ahead, rest)
    }

    /// Reads up to and with `mark`; what came where it never does.
    pub(crate) fn until(&mut self, mark: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        loop {
            let found = self.ahead.windows(mark.len()).position(|it| it == mark);
            if let Some(at) = found {
                return Ok(self.take(at + mark.len()));
            }
            if !self.more() {
                return Err(std::mem::take(&mut self.ahead));
            }
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Vec<u8>> {
        while self.ahead.len() < length {
            if !self.more() {
                return Err(std::mem::take(&mut self.ahead));
            }
        }
        Ok(self.take(length))
    }

    /// The head of the next answer; `None` where the connection ends before it.
    pub(crate) fn answer_head(&mut self) -> Option<Heard> {
        let head = String::from_utf8(self.until(b"\r\n\r\n").ok()?).unwrap();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let fields = lines.filter_map(|it| it.split_once(": "));
        Some(Heard {
            status,
            headers: fields
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: Vec::new(),
            ended: Ended::Whole,
        })
    }

    /// The next answer; `None` where the connection ends before its head.
    pub(crate) fn answer(&mut self) -> Option<Heard> {
        let mut heard = self.answer_head()?;
        let read = if heard.header("transfer-encoding") == Some("chunked") {
            self.chunked(&mut heard.body)
        } else {
            let length = heard.header("content-length").unwrap_or("0");
            let length = length.parse().unwrap();
            match self.exactly(length) {
                Ok(body) => {
                    heard.body = body;
                    true
                }
                Err(part) => {
                    heard.body = part;
                    false
                }
            }
        };
        if !read {
            heard.ended = Ended::Cut;
        }
        Some(heard)
    }

    /// The chunks of a body, to its end; false where they break off.
    pub(crate) fn chunked(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let Ok(line) = self.until(b"\r\n") else {
                return false;
            };
            let line = String::from_utf8(line).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            match self.exactly(size + 2) {
                Ok(chunk) => body.extend_from_slice(&chunk[..size]),
                Err(part) => {
                    body.extend_from_slice(&part);
                    return false;
                }
            }
            if size == 0 {
                return true;
            }
        }
    }

    /// Does `act` over and over until the other side has sent something.
    pub(crate) fn until_heard(&self, mut act: impl FnMut()) {
        self.stream.set_nonblocking(true).unwrap();
        while self.stream.peek(&mut [0]).is_err() {
            act();
        }
        self.stream.set_nonblocking(false).unwrap();
    }

    /// Does `act` over and over until the other side has ended the connection.
    pub(crate) fn until_ended(&mut self, mut act: impl FnMut()) {
        self.stream.set_nonblocking(true).unwrap();
        loop {
            match self.stream.read(&mut [0; 1024]) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if is_timeout(error.kind()) => act(),
                Err(_) => return,
            }
        }
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Heard {
        self.send(&ask.bytes());
        self.answer().expect("an answer")
    }

    /// True once the other side has ended the connection.
    pub(crate) fn is_ended(&mut self) -> bool {
        !self.more()
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl World {
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Asks, each time over a connection that is gone at about the time at which the request is read, until
    /// it is so; and then until all are done with.
    pub(crate) fn ask_and_go_until(&self, ask: &Ask, is_so: impl Fn() -> bool) {
        self.until(|| {
            for turn in 0..30 {
                let mut client = self.connect();
                // Together, in a row, and with others between them.
                match turn % 3 {
                    0 => client.send_and_go(&ask.bytes()),
                    1 => client.send(&ask.bytes()),
                    _ => {
                        client.send(&ask.bytes());
                        thread::yield_now();
                    }
                }
            }
            is_so()
        });
        // Whoever came before this one is taken up by now.
        self.ask(ask);
        let open = self.engine.registry().open_calls.with([]);
        self.until(|| open.value() == 0 && self.gateway.body_bytes() == 0);
    }

    /// Sends a request over a connection of its own and reads its answer.
    pub(crate) fn ask(&self, ask: &Ask) -> Heard {
        self.connect().ask(ask)
    }
}
