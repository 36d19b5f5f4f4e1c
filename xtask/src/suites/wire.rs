//! As much of an HTTP/1.1 client as suites need: requests are written whole, answers are read whole, nothing is retried.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// An answer that takes longer is a defect of what is tested; it must not hang the suite.
const PATIENCE: Duration = Duration::from_mins(1);

/// Bytes read at once: most answers have fewer, and a suite may hold ten thousand connections.
const BUFFER: usize = 2 * 1024;

/// A connection that is kept open.
#[derive(Debug)]
pub(super) struct Line(BufReader<TcpStream>);

/// An answer, complete.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// How the end of a body is told.
#[derive(Debug, PartialEq, Eq)]
enum End {
    After(u64),
    LastChunk,
    Close,
}

/// The bytes of a request; `headers` are lines without their ends.
pub(super) fn request(method: &str, path: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
    for line in headers {
        text.push_str(line);
        text.push_str("\r\n");
    }
    if method != "GET" {
        // Writing to a String cannot fail.
        let _infallible = write!(
            text,
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// The header that proves to be the operator: the token that `serve` writes to its data folder.
pub(super) fn operator(data: &Path) -> anyhow::Result<String> {
    let token =
        std::fs::read_to_string(data.join("token")).context("no token in the data folder")?;
    Ok(format!("authorization: Bearer {}", token.trim()))
}

impl Line {
    pub(super) fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::with_capacity(BUFFER, stream)))
    }

    /// Hands the request to the kernel and does not wait for its answer.
    pub(super) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(request)
    }

    /// Sends and reads the answer.
    pub(super) fn call(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.send(request)?;
        self.answer()
    }

    /// Reads the next answer to its end. A body that breaks off is an error.
    pub(super) fn answer(&mut self) -> io::Result<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status: {first}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        match answer.end()? {
            End::After(bytes) => self.take(bytes, &mut answer.body)?,
            End::LastChunk => while self.chunk(&mut answer.body)? {},
            End::Close => {
                self.0.read_to_end(&mut answer.body)?;
            }
        }
        Ok(answer)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    /// Reads one chunk; false after the last.
    fn chunk(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        let line = self.line()?;
        let digits = line.split(';').next().unwrap_or_default();
        let bytes = u64::from_str_radix(digits.trim(), 16).map_err(io::Error::other)?;
        self.take(bytes, body)?;
        self.line()?; // the end of the chunk's line
        Ok(bytes > 0)
    }

    fn take(&mut self, bytes: u64, body: &mut Vec<u8>) -> io::Result<()> {
        let read = self.0.by_ref().take(bytes).read_to_end(body)?;
        if (read as u64) < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

impl Answer {
    /// A header by its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(it, _)| it == name);
        found.next().map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of an answer that is no error.
    pub(super) fn json(&self) -> anyhow::Result<Value> {
        if self.status != 200 {
            bail!("answered {}: {}", self.status, self.text());
        }
        serde_json::from_slice(&self.body).with_context(|| self.text())
    }

    fn end(&self) -> io::Result<End> {
        let chunked = self.header("transfer-encoding");
        if chunked.is_some_and(|it| it.contains("chunked")) {
            return Ok(End::LastChunk);
        }
        match self.header("content-length") {
            Some(length) => Ok(End::After(length.parse().map_err(io::Error::other)?)),
            None => Ok(End::Close),
        }
    }
}

/// One request on a connection of its own.
pub(super) fn once(address: &str, request: &[u8]) -> anyhow::Result<Answer> {
    let answer = Line::open(address).and_then(|mut it| it.call(request));
    answer.with_context(|| format!("no answer from {address}"))
}
