//! As much of an HTTP/1.1 client as a load needs: one connection, one call after the other, and when its bytes came.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::clock;

/// An answer that takes longer is a defect of what is measured; it must not hang the bench.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that is kept open.
pub(super) struct Connection(BufReader<TcpStream>);

/// What was seen of one answer, from the moment its request was handed to the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Until the first byte of the body, or the end of the head where there is no body.
    pub(super) first: Duration,
    /// Until the last byte.
    pub(super) whole: Duration,
}

/// How the length of a body is told.
#[derive(Debug, PartialEq, Eq)]
enum Length {
    Known(u64),
    Chunked,
}

impl Connection {
    pub(super) fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::with_capacity(64 * 1024, stream)))
    }

    /// Sends the request and reads its answer whole.
    ///
    /// # Errors
    /// Any status but 200: a load of refusals measures nothing.
    pub(super) fn call(&mut self, request: &[u8]) -> io::Result<Seen> {
        let sent = self.send(request)?;
        let length = self.head()?;
        self.0.fill_buf()?;
        let first = sent.elapsed();
        match length {
            Length::Known(bytes) => self.skip(bytes)?,
            Length::Chunked => while self.chunk()? {},
        }
        let whole = sent.elapsed();
        Ok(Seen { first, whole })
    }

    /// Sends the request and reads its answer's first bytes; the rest stays where it is.
    pub(super) fn begin(&mut self, request: &[u8]) -> io::Result<()> {
        self.send(request)?;
        self.head()?;
        self.0.fill_buf()?;
        Ok(())
    }

    fn send(&mut self, request: &[u8]) -> io::Result<Instant> {
        let sent = clock::now();
        self.0.get_mut().write_all(request)?;
        Ok(sent)
    }

    fn head(&mut self) -> io::Result<Length> {
        let status = self.line()?;
        if !status.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(format!("answered `{}`", status.trim())));
        }
        let mut length = Length::Known(0);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.trim_end().split_once(':') {
                Some(("content-length", value)) => {
                    length = Length::Known(value.trim().parse().map_err(io::Error::other)?);
                }
                Some(("transfer-encoding", value)) if value.contains("chunked") => {
                    length = Length::Chunked;
                }
                Some(_) => {}
                None => return Ok(length),
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }

    /// Reads one chunk; false after the last.
    fn chunk(&mut self) -> io::Result<bool> {
        let line = self.line()?;
        let digits = line.trim().split(';').next().unwrap_or_default();
        let bytes = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
        self.skip(bytes + 2)?; // and the line end after it
        Ok(bytes > 0)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.0.by_ref().take(bytes), &mut io::sink())?;
        if skipped < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
