//! A TCP connection that knows its protocol beforehand and can end in a reset.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How HTTP/2 with prior knowledge begins; no HTTP/1.1 method shares its first three bytes.
const HTTP2_BEGINS: &[u8] = b"PRI";

/// Set, the connection ends with RST instead of FIN.
pub(super) type ResetSwitch = Arc<AtomicBool>;

pub(super) struct Socket {
    stream: TcpStream,
    /// Read while looking at the protocol; handed out first.
    seen: Vec<u8>,
    reset: ResetSwitch,
}

impl Socket {
    /// Reads as little as tells HTTP/2 from HTTP/1.1.
    pub(super) async fn sniff(mut stream: TcpStream) -> io::Result<(Self, bool)> {
        stream.set_nodelay(true)?;
        let mut seen = Vec::with_capacity(HTTP2_BEGINS.len());
        while seen.len() < HTTP2_BEGINS.len() && HTTP2_BEGINS.starts_with(&seen) {
            let byte = stream.read_u8().await?;
            seen.push(byte);
        }
        let is_http2 = seen == HTTP2_BEGINS;
        let socket = Self {
            stream,
            seen,
            reset: ResetSwitch::default(),
        };
        Ok((socket, is_http2))
    }

    pub(super) fn reset_switch(&self) -> ResetSwitch {
        Arc::clone(&self.reset)
    }

    fn resets(&self) -> bool {
        self.reset.load(Ordering::Relaxed)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.resets() {
            // Closing with zero linger sends RST. Where the peer has gone already there is nothing to send.
            drop(self.stream.set_zero_linger());
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.seen.len().min(buffer.remaining());
        buffer.put_slice(&self.seen[..count]);
        self.seen.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.resets() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
