//! What a record costs from the socket to a merged part, over HTTP, and how much memory a steady
//! stream takes.
//!
//! The receiver runs in a process of its own, whose processor time counts, sealing and merging
//! included; making and sending records does not. Prints one JSON object a line. `TIDEGATE_LOGHUB`
//! names the folder of [loghub](https://github.com/logpai/loghub)'s samples, `TIDEGATE_RECORDS` how
//! many records there are, `TIDEGATE_SECONDS` how long the steady stream lasts.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench measures, prints and stops where it can't"
)]

#[path = "../../../segments/benches/segments/corpus.rs"]
mod corpus;
#[path = "../../../segments/benches/segments/cost.rs"]
mod cost;
mod encode;
mod serve;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use corpus::{Corpus, RequestIds};
use encode::Form;
use tidegate_types::{Clock as _, SystemClock, Timestamp};

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Records of one request, as a collector sends them.
const BATCH: usize = 1_000;

/// Connections that send at the same time.
const CONNECTIONS: usize = 8;

/// Between two records.
const STEP: Duration = Duration::from_micros(50);

/// Records a second of the steady stream.
const STEADY: usize = 20_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    if let Some(directory) = arguments.next().filter(|it| it.starts_with('/')) {
        return serve::run(Path::new(&directory));
    }
    // `cargo test` builds and runs benches too: then once through is enough.
    let measuring = std::env::args().any(|it| it == "--bench");
    let number = |name: &str, usual: usize, least: usize| match std::env::var(name) {
        Ok(it) => it.parse().unwrap(),
        Err(_) if measuring => usual,
        Err(_) => least,
    };
    let records = number("TIDEGATE_RECORDS", 2_000_000, 8_000);
    let seconds = number("TIDEGATE_SECONDS", 60, 1);
    let loghub = std::env::var_os("TIDEGATE_LOGHUB").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/loghub"),
        PathBuf::from,
    );
    for (form, ids) in [
        (Form::Logs, RequestIds::PerTrace),
        (Form::LogsJson, RequestIds::PerTrace),
        (Form::Spans, RequestIds::PerRecord),
    ] {
        full_speed((form, ids), &loghub, records);
    }
    steady(&loghub, seconds);
}

/// All records as fast as they are taken.
fn full_speed((form, ids): (Form, RequestIds), loghub: &Path, records: usize) {
    let mut server = Server::start();
    let mut corpus = Corpus::new(loghub, ids, an_hour_ago(), STEP);
    let began = Instant::now();
    let (mut left, mut bytes, mut sending) = (records, 0, Duration::ZERO);
    while left > 0 {
        let made: Vec<Vec<u8>> = (0..(left.div_ceil(BATCH)).min(400))
            .map(|_| encode::message(form, &corpus.batch(BATCH)))
            .collect();
        left = left.saturating_sub(made.len() * BATCH);
        bytes += made.iter().map(Vec::len).sum::<usize>();
        let sent = Instant::now();
        send_all(server.port, form, &made);
        sending += sent.elapsed();
    }
    let said = server.end();
    println!(
        "{{\"sent\":\"{form:?}\",\"bodies\":{},\"records\":{records},\"bytes_per_record\":{},\"seconds_sending\":{:.1},\"seconds\":{:.1},{said}}}",
        corpus.bodies(),
        bytes / records,
        sending.as_secs_f64(),
        began.elapsed().as_secs_f64(),
    );
}

/// So many records a second, in batches of an exporter.
fn steady(loghub: &Path, seconds: usize) {
    let mut server = Server::start();
    let mut corpus = Corpus::new(loghub, RequestIds::PerTrace, an_hour_ago(), STEP);
    let began = Instant::now();
    for second in 0..seconds {
        let made: Vec<Vec<u8>> = (0..STEADY / 500)
            .map(|_| encode::message(Form::Logs, &corpus.batch(500)))
            .collect();
        send_all(server.port, Form::Logs, &made);
        let next = Duration::from_secs(second as u64 + 1);
        std::thread::sleep(next.saturating_sub(began.elapsed()));
    }
    let took = began.elapsed().as_secs_f64();
    let said = server.end();
    println!(
        "{{\"sent\":\"a steady stream\",\"records\":{},\"seconds\":{took:.1},{said}}}",
        STEADY * seconds,
    );
}

fn an_hour_ago() -> Timestamp {
    let hour = Duration::from_hours(1);
    Timestamp(SystemClock::start().now().0 - u64::try_from(hour.as_nanos()).unwrap())
}

/// Sends requests over a few connections, and waits until all are answered.
fn send_all(port: u16, form: Form, requests: &[Vec<u8>]) {
    std::thread::scope(|scope| {
        for first in 0..CONNECTIONS {
            scope.spawn(move || {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                stream.set_nodelay(true).unwrap();
                for body in requests.iter().skip(first).step_by(CONNECTIONS) {
                    while !send(&mut stream, form, body) {
                        std::thread::sleep(Duration::from_millis(200));
                    }
                }
            });
        }
    });
}

/// Whether one request was taken. One that is refused for now is sent again.
fn send(stream: &mut TcpStream, form: Form, body: &[u8]) -> bool {
    let head = format!(
        "POST /v1/{} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
        form.signal(),
        form.media(),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.windows(4).any(|it| it == b"\r\n\r\n") {
        let read = stream.read(&mut piece).unwrap();
        answer.extend(&piece[..read]);
    }
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains(" 200 ") || text.contains(" 503 "), "{text}");
    // The answers' bodies are in the same packet.
    text.contains(" 200 ")
}

/// The process that receives.
struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        Self {
            port: line.trim().parse().unwrap(),
            child,
            output,
            _directory: directory,
        }
    }

    /// Has it seal and merge what it took, and say what that cost.
    fn end(&mut self) -> String {
        drop(self.child.stdin.take());
        let mut said = String::new();
        self.output.read_line(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success());
        said.trim().to_owned()
    }
}
