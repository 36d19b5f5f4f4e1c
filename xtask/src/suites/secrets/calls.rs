//! Calls, good and bad, each with secrets in it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{
    super::wire::{self, Answer},
    PLAIN_SESSION, PLAIN_TASK,
    ask::{self, Dialect},
    left::Left,
    loose, mark,
};

/// How calls of the suite end, all of them.
pub(super) const OUTCOMES: [&str; 8] = [
    "answered",
    "refused",
    "invalid",
    "client_gone",
    "upstream_error",
    "stream_error",
    "upstream_unreachable",
    "upstream_lost",
];

/// What the emulated provider is asked to do, by the status of its answer. 0: no answer is whole.
const WISHES: [(&str, u16); 9] = [
    ("sim:say Zq9xkAnswer", 200),
    ("sim:fault 400", 400),
    ("sim:fault 401", 401),
    ("sim:fault 429", 429),
    ("sim:fault 500", 500),
    ("sim:fault 504", 504),
    ("sim:fault reset", 502),
    ("sim:fault error-event", 0),
    ("sim:fault close-mid-stream", 0),
];

/// Who sends it is not held for long where it has to wait.
const IMPATIENT: &str = "x-stainless-read-timeout: 1";

/// Whoever calls.
pub(super) struct Caller<'a> {
    address: &'a str,
    keys: &'a [String],
}

impl<'a> Caller<'a> {
    /// `keys` are of ours, and real.
    pub(super) const fn new(address: &'a str, keys: &'a [String]) -> Self {
        Self { address, keys }
    }

    /// Every kind of call. What we say ourselves is left to be searched; what a provider says is the caller's to read.
    pub(super) fn send_everything(&self, left: &mut Left<'_>) -> anyhow::Result<()> {
        self.send_some()?;
        self.send_to_every_provider()?;
        self.name_things(left)?;
        self.send_wrong_credentials(left)?;
        self.send_what_is_not_understood(left)?;
        self.ask_for_what_is_not_there(left)?;
        self.use_the_api(left)?;
        // Last: names that are taken out are one task, which can spend no more then.
        self.meet_limits(left)?;
        self.hang_up()
    }

    /// A good call of each dialect, streamed and not, with plain names.
    pub(super) fn send_some(&self) -> anyhow::Result<()> {
        for dialect in Dialect::ALL {
            for streamed in [false, true] {
                let mut headers = ask::ordinary_headers();
                headers.push(dialect.credential());
                headers.push(format!("x-tidegate-task: {PLAIN_TASK}"));
                headers.push(format!("x-tidegate-session: {PLAIN_SESSION}"));
                let body = ask::body(dialect, model(dialect), streamed, "sim:say Zq9xkAnswer");
                let path = format!("{}?beta=true&key={}", dialect.path(), mark::key("Query"));
                let answer = self.send(&path, &headers, &body.to_string())?;
                expect("a good call", &answer, 200)?;
            }
        }
        Ok(())
    }

    fn send_to_every_provider(&self) -> anyhow::Result<()> {
        for dialect in Dialect::ALL {
            for (wish, status) in WISHES {
                for streamed in [false, true] {
                    let body = ask::body(dialect, model(dialect), streamed, wish).to_string();
                    let headers = [dialect.credential()];
                    let answer = self.send(dialect.path(), &headers, &body);
                    // An answer that breaks off is no answer to this client.
                    if status > 0 {
                        expect(wish, &answer?, status)?;
                    }
                }
            }
        }
        let anthropic = Dialect::Anthropic;
        for (model, status) in loose::MODELS {
            let body = ask::body(anthropic, model, model.contains("event"), "");
            let answer = self.send(
                anthropic.path(),
                &ask::ordinary_headers(),
                &body.to_string(),
            )?;
            expect(model, &answer, status)?;
        }
        let body = ask::body(anthropic, loose::BREAKS, true, "").to_string();
        let answer = self.send(anthropic.path(), &[], &body)?;
        expect("an answer that breaks off ends with an event", &answer, 200)
    }

    /// Names of tasks, sessions, agents, models: what is kept, and must be kept clean.
    fn name_things(&self, left: &mut Left<'_>) -> anyhow::Result<()> {
        for dialect in Dialect::ALL {
            for named in ask::naming_headers() {
                let mut headers = named;
                headers.push(dialect.credential());
                let body = ask::body(dialect, model(dialect), false, "sim:say Zq9xkAnswer");
                let answer = self.send(dialect.path(), &headers, &body.to_string())?;
                expect("a call with names", &answer, 200)?;
            }
            let body = ask::body(dialect, &mark::key("Model"), false, "sim:say Zq9xkAnswer");
            let answer = self.send(dialect.path(), &[dialect.credential()], &body.to_string());
            expect("an unknown model", &answer?, 200)?;
            for header in ask::wrong_headers() {
                let headers = [header, dialect.credential()];
                let body = ask::body(dialect, model(dialect), false, "").to_string();
                let answer = self.send(dialect.path(), &headers, &body)?;
                expect(&headers[0], &answer, 400)?;
                left.keep("a refused header", &answer.body);
            }
        }
        let session = json!({ "session_id": mark::key("MetadataSession") }).to_string();
        let mut body = ask::body(Dialect::Anthropic, "claude-haiku-5-5", false, "");
        body["metadata"]["user_id"] = session.into();
        let answer = self.send(
            "/v1/messages",
            &[Dialect::Anthropic.credential()],
            &body.to_string(),
        );
        expect("a session in the metadata", &answer?, 200)?;
        self.count(&body)
    }

    /// What is only counted: models and token counts.
    fn count(&self, body: &Value) -> anyhow::Result<()> {
        let mut body = body.clone();
        if let Some(body) = body.as_object_mut() {
            body.retain(|key, _| matches!(key.as_str(), "model" | "messages" | "system" | "tools"));
        }
        let headers = [Dialect::Anthropic.credential()];
        let path = "/v1/messages/count_tokens";
        let answer = self.send(path, &headers, &body.to_string())?;
        expect(path, &answer, 200)?;
        let path = format!(
            "/v1/models/{}?key={}",
            mark::key("PathModel"),
            mark::text("Query")
        );
        self.get(&path, &headers).map(drop)
    }

    fn send_wrong_credentials(&self, left: &mut Left<'_>) -> anyhow::Result<()> {
        let wrong = [
            format!("x-tidegate-key: {}", mark::own_key("WrongKey")),
            format!("x-api-key: {}", mark::own_key("WrongApiKey")),
            format!("authorization: Bearer {}", mark::own_key("WrongBearer")),
            format!("host: {}.example", mark::text("Host")),
            format!("origin: http://{}.example", mark::text("Origin")),
        ];
        for dialect in Dialect::ALL {
            let body = ask::body(dialect, model(dialect), false, "").to_string();
            for header in &wrong {
                let answer = self.send(dialect.path(), std::slice::from_ref(header), &body)?;
                ensure!(
                    matches!(answer.status, 401 | 403),
                    "{header}: {}",
                    answer.status
                );
                left.keep("a refused credential", &answer.body);
            }
            for key in self.keys {
                for name in ["x-tidegate-key", "x-api-key"] {
                    let headers = [format!("{name}: {key}"), login(dialect)];
                    let answer = self.send(dialect.path(), &headers, &body)?;
                    left.keep_if_ours("a call with a key of ours", &answer);
                }
            }
        }
        Ok(())
    }

    fn send_what_is_not_understood(&self, left: &mut Left<'_>) -> anyhow::Result<()> {
        for dialect in Dialect::ALL {
            let good = ask::body(dialect, model(dialect), false, "").to_string();
            let half = good.get(..good.len() / 2).unwrap_or_default().to_owned();
            let text = mark::text("WrongType");
            let wrong = [
                half,
                format!("{good}{}", mark::text("Behind")),
                mark::text("NoJson"),
                good.replacen(
                    "\"model\":\"",
                    &format!("\"model\":[\"{text}\"],\"m\":\""),
                    1,
                ),
                good.replace(":64", &format!(":\"{}\"", mark::text("Cap"))),
                good.replace(":64", &format!(":64,\"model\":\"{}\"", mark::key("Twice"))),
                good.replace(
                    "\"stream\":false",
                    &format!("\"stream\":\"{}\"", mark::text("Stream")),
                ),
            ];
            for body in wrong {
                let answer = self.send(dialect.path(), &[dialect.credential()], &body)?;
                expect("what is not understood", &answer, 400)?;
                left.keep("a refused body", &answer.body);
            }
            let flood: Vec<String> = (0..200)
                .map(|_| format!("x-many: {}", mark::text("Flood")))
                .collect();
            if let Ok(answer) = self.send(dialect.path(), &flood, &good) {
                left.keep("a flood of headers", &answer.body);
            }
        }
        Ok(())
    }

    fn ask_for_what_is_not_there(&self, left: &mut Left<'_>) -> anyhow::Result<()> {
        let paths = [
            format!("/v1/{}", mark::key("Path")),
            format!("/v1/files?key={}", mark::text("PathQuery")),
            format!("/api/v1/{}", mark::key("ApiPath")),
            format!("/api/v1/calls/{}", mark::key("CallId")),
            format!("/api/v1/calls?since={}", mark::key("Since")),
            format!("/api/v1/calls?task={}", mark::key("CallsOfTask")),
            format!("/api/v1/calls?{}=1", mark::key("QueryName")),
            format!("/api/v1/budgets?level={}", mark::key("Level")),
            format!("/api/v1/calls?limit={}", mark::operators_form("Limit")),
        ];
        for path in paths {
            for headers in [Vec::new(), vec![Dialect::Chat.credential()]] {
                let answer = self.get(&path, &headers)?;
                left.keep("an answer to a strange path", &answer.body);
            }
        }
        Ok(())
    }

    /// A budget that is spent, and a bucket that is empty.
    fn meet_limits(&self, left: &mut Left<'_>) -> anyhow::Result<()> {
        let task = mark::key("SpentTask");
        for usd in ["1", "0.1", "0.01", "0.001", "0.0001", "0.00001"] {
            for _ in 0..10 {
                let ask = json!({ "cost_usd": usd, "task": task, "session": mark::key("AskSession"),
                    "task_type": mark::key("AskType"), "parent_task": mark::key("AskParent") });
                let answer = self.send("/api/v1/admissions", &[], &ask.to_string())?;
                left.keep("an admission", &answer.body);
            }
        }
        let mut limited = 0;
        for dialect in Dialect::ALL {
            let body = ask::body(dialect, model(dialect), false, "").to_string();
            let headers = [
                format!("x-tidegate-task: {task}"),
                format!("x-tidegate-parent-task: {}", mark::key("AskParent")),
                IMPATIENT.to_owned(),
                dialect.credential(),
            ];
            let answer = self.send(dialect.path(), &headers, &body)?;
            left.keep_if_ours("a call beyond its budget", &answer);
            limited += u32::from(answer.status != 200);
        }
        ensure!(
            limited == 3,
            "{limited} of 3 calls were beyond their budget"
        );
        let credential = [Dialect::Anthropic.credential(), IMPATIENT.to_owned()];
        let body = ask::body(Dialect::Anthropic, "narrow-1", false, "").to_string();
        for status in [200, 429] {
            let answer = self.send("/v1/messages", &credential, &body)?;
            expect("a bucket of one request", &answer, status)?;
            left.keep_if_ours("a call that must wait", &answer);
        }
        let body = ask::body(Dialect::Anthropic, "gone-1", false, "").to_string();
        let answer = self.send("/v1/messages", &[], &body)?;
        expect("a provider that is not there", &answer, 502)?;
        left.keep("a provider that is not there", &answer.body);
        Ok(())
    }

    fn use_the_api(&self, left: &mut Left<'_>) -> anyhow::Result<()> {
        let ask = json!({ "cost_usd": "0.0001", "task": mark::operators_form("AskTask") });
        let admitted = self.send("/api/v1/admissions", &[], &ask.to_string())?;
        left.keep("an admission", &admitted.body);
        let admitted = admitted.json()?;
        let id = admitted["reservation"].as_str().context("it was refused")?;
        let settle = json!({ "cost_usd": "0.00001", "model": mark::key("SettledModel") });
        let path = format!("/api/v1/reservations/{id}/settle");
        expect(
            "a settlement",
            &self.send(&path, &[], &settle.to_string())?,
            200,
        )?;
        let strange = [
            (
                "/api/v1/admissions",
                json!({ "tokens": 1, "platform": mark::key("AskPlatform") }),
            ),
            (
                "/api/v1/admissions",
                json!({ "tokens": 1, "user": mark::key("AskUser") }),
            ),
            (
                "/api/v1/admissions",
                json!({ "tokens": mark::key("AskTokens") }),
            ),
            (
                "/api/v1/admissions",
                json!({ "tokens": 1, "priority": mark::key("AskPriority") }),
            ),
            ("/api/v1/admissions", json!({ (mark::key("AskField")): 1 })),
            ("/api/v1/reload", json!({ (mark::key("ReloadField")): 1 })),
        ];
        for (path, body) in strange {
            let answer = self.send(path, &[], &body.to_string())?;
            ensure!(answer.status >= 400, "{path} {body}: {}", answer.status);
            left.keep("a refusal of the API", &answer.body);
        }
        self.set_limits(left)?;
        let path = format!("/api/v1/reservations/{}/settle", mark::key("NoReservation"));
        let answer = self.send(&path, &[], "{}")?;
        left.keep("a refusal of the API", &answer.body);
        let headers = [format!("authorization: Bearer {}", mark::key("WrongToken"))];
        let answer = self.send("/api/v1/keys", &headers, "{}")?;
        left.keep("a refusal of the API", &answer.body);
        Ok(())
    }

    /// Limits of tasks and users: an operator's names, which are kept.
    fn set_limits(&self, left: &mut Left<'_>) -> anyhow::Result<()> {
        let operator = self.keys.last().context("no operator's key")?;
        let headers = [format!("x-tidegate-key: {operator}")];
        for (level, key) in [("task", "task"), ("user_day", "user")] {
            for (name, status) in [
                ("harbour-limit".to_owned(), 200),
                (mark::key("Limited"), 400),
            ] {
                let body = json!({ "hard_usd": "7", (key): name }).to_string();
                let request = request("PUT", &format!("/api/v1/budgets/{level}"), &headers, &body);
                let answer = wire::once(self.address, &request)?;
                expect(level, &answer, status)?;
                left.keep("a limit", &answer.body);
            }
        }
        Ok(())
    }

    /// Streams that their client leaves.
    fn hang_up(&self) -> anyhow::Result<()> {
        self.leave_hanging().map(drop)
    }

    /// Streams that have begun and will not end by themselves, until their connections are dropped.
    pub(super) fn leave_hanging(&self) -> anyhow::Result<Vec<TcpStream>> {
        let hanging = Dialect::ALL.into_iter().map(|dialect| {
            let body = ask::body(dialect, model(dialect), true, "sim:fault stall-mid-stream");
            let mut headers = vec![dialect.credential()];
            headers.extend(ask::naming_headers().into_iter().next().unwrap_or_default());
            headers.retain(|it| !it.starts_with("x-tidegate-task"));
            let request = request("POST", dialect.path(), &headers, &body.to_string());
            let mut stream = TcpStream::connect(self.address)?;
            stream.write_all(&request)?;
            let mut first = [0; 1024];
            let read = stream.read(&mut first)?;
            let head = String::from_utf8_lossy(first.get(..read).unwrap_or_default()).into_owned();
            ensure!(
                head.starts_with("HTTP/1.1 200"),
                "a stream began with {head}"
            );
            Ok(stream)
        });
        hanging.collect()
    }

    fn send(&self, path: &str, headers: &[String], body: &str) -> anyhow::Result<Answer> {
        wire::once(self.address, &request("POST", path, headers, body))
    }

    fn get(&self, path: &str, headers: &[String]) -> anyhow::Result<Answer> {
        wire::once(self.address, &request("GET", path, headers, ""))
    }
}

fn request(method: &str, path: &str, headers: &[String], body: &str) -> Vec<u8> {
    let lines: Vec<&str> = headers.iter().map(String::as_str).collect();
    let request = wire::request(method, path, &lines, body);
    if !lines.iter().any(|it| it.starts_with("host: ")) {
        return request;
    }
    // A request has one host.
    let text = String::from_utf8_lossy(&request);
    text.replacen("host: 127.0.0.1\r\n", "", 1).into_bytes()
}

fn model(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Anthropic => "claude-haiku-5-5",
        Dialect::Chat | Dialect::Responses => "gpt-6",
    }
}

/// The caller's own credential beside a key of ours.
fn login(dialect: Dialect) -> String {
    match dialect {
        Dialect::Anthropic => format!("authorization: Bearer {}", mark::login("Login")),
        Dialect::Chat | Dialect::Responses => dialect.credential(),
    }
}

fn expect(what: &str, answer: &Answer, status: u16) -> anyhow::Result<()> {
    let found = answer.status;
    ensure!(
        found == status,
        "{what}: answered {found}, not {status}: {}",
        answer.text()
    );
    Ok(())
}
