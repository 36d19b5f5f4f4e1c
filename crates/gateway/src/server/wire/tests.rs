use http::Request;
use hyper::body::Incoming;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpSocket},
};

use super::*;
use crate::server::Answering;

/// Nobody gets to ask it: bytes are read here, not requests.
struct Silent;

impl Answerer for Silent {
    fn answer(&self, _: Request<Incoming>, _: std::net::SocketAddr) -> Answering {
        unreachable!("no request is read")
    }

    fn refuse_head(&self, _: &[u8], _: BadHead) -> Option<Vec<u8>> {
        None
    }
}

/// Sent at once by each client: within what a socket holds without anybody reading.
const SENT: usize = HEAD_BYTES_MAX + HEAD_BYTES_MAX / 2;

/// A connection on which so much has come, and the client's end of it.
async fn reached(listener: &TcpListener, early: &Early) -> (Wire, TcpStream, Arc<AtomicBool>) {
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let mut seen = vec![b'x'; SENT];
    client.write_all(&seen).await.unwrap();
    while stream.peek(&mut seen).await.unwrap() < SENT {
        tokio::task::yield_now().await;
    }
    let begun = Arc::new(AtomicBool::new(false));
    let wire = Wire::new(stream, early.clone(), Arc::new(Silent), Arc::clone(&begun));
    (wire, client, begun)
}

#[tokio::test]
async fn what_is_read_before_calls_begin_is_bounded_over_all_connections() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1 << 20).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap();
    let more = 10_000;
    let early = Early::of(more);
    let mut room = vec![0; 8 * SENT];

    let (mut first, _first, begun) = reached(&listener, &early).await;
    let (mut second, _second, _) = reached(&listener, &early).await;
    let (mut third, _third, _) = reached(&listener, &early).await;
    // The first has all there is for bodies, the second no more than any head may have.
    let read = first.read(&mut room).await.unwrap();
    assert_eq!(read, HEAD_BYTES_MAX + more);
    assert_eq!(second.read(&mut room).await.unwrap(), HEAD_BYTES_MAX);
    // Once the first call has begun, its reads are its own, and what it had is free again.
    begun.store(true, Ordering::Relaxed);
    assert_eq!(first.read(&mut room).await.unwrap(), SENT - read);
    let read = third.read(&mut room).await.unwrap();
    assert_eq!(read, HEAD_BYTES_MAX + more);
    // A connection that ends gives back what it had.
    drop(third);
    assert_eq!(early.take(usize::MAX).bytes(), more);
}
