use std::{io::Write as _, net::TcpListener, thread};

use super::*;

/// Serves these bytes, whatever is asked, and closes.
fn serve(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    });
    address
}

fn call(answer: &'static str) -> io::Result<Seen> {
    Connection::open(&serve(answer)).unwrap().call(b"ask?")
}

#[test]
fn bodies_of_known_length_and_in_chunks_are_read_to_their_end() {
    call("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
    call("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nb;x=1\r\nhello hello\r\n0\r\n\r\n").unwrap();
    let seen = call("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").unwrap();
    assert!(seen.first <= seen.whole);
}

#[test]
fn an_answer_that_ends_early_or_refuses_is_an_error() {
    call("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello").unwrap_err();
    call("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").unwrap_err();
    let refused = call("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n").unwrap_err();
    assert!(refused.to_string().contains("429"), "{refused}");
}
