use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
};

use clap::Parser as _;
use expect_test::expect;

use super::*;
use crate::cli::{Cli, Command, Format, budget, status};

/// Reads one request.
fn read_request(stream: &std::net::TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut asked, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        asked.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    asked + &String::from_utf8(body).unwrap()
}

/// Answers one request with `answer`, and gives back what was asked. After a refusal it says, if
/// asked, that it is a gateway.
fn answer_once(answer: &'static str) -> (Client, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let asked = read_request(&stream);
        stream.write_all(answer.as_bytes()).unwrap();
        if answer.starts_with("HTTP/1.1 4") {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(read_request(&stream).starts_with("GET /healthz "));
            let alive =
                "HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\nserving\n";
            stream.write_all(alive.as_bytes()).unwrap();
        }
        asked
    });
    let token = Secret::new("tgl-token".to_owned());
    (Client::to(address, Some(token)), server)
}

#[test]
fn a_refusal_of_the_gateway_is_told_in_its_words() {
    let (client, server) = answer_once(
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 86\r\nconnection: close\r\n\r\n{\"error\":{\"code\":\"role\",\"message\":\"your key may not do that\",\"remedy\":\"ask an admin\"}}",
    );
    let set = Cli::try_parse_from("tidegate budget set task 5 --user ada".split(' ')).unwrap();
    let Command::Budget(args) = set.command else {
        panic!("not budget")
    };
    let error = budget::answer(&args, &client).unwrap_err();
    assert_eq!(
        error.to_string(),
        "your key may not do that\n  ask an admin"
    );
    let asked = server.join().unwrap();
    assert!(
        asked.starts_with("PUT /api/v1/budgets/task HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(
        asked.contains("authorization: Bearer tgl-token\r\n"),
        "{asked}"
    );
    let body = asked.rsplit("\r\n").next().unwrap();
    expect![[r#"{"user":"ada","hard_usd":"5.00","mode":"enforce"}"#]].assert_eq(body);
}

#[test]
fn an_answer_of_another_kind_is_an_error_and_not_a_panic() {
    let (client, server) =
        answer_once("HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\n<html/>");
    let error = status::answer(Format::default(), &client).unwrap_err();
    assert!(error.to_string().contains("does not understand"), "{error}");
    let asked = server.join().unwrap();
    assert!(asked.starts_with("GET /api/v1/status "), "{asked}");
}

#[test]
fn where_nobody_listens_the_remedy_is_told() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let client = Client::to(free, None);
    assert!(!client.is_running());
    let error = status::answer(Format::default(), &client)
        .unwrap_err()
        .to_string();
    assert!(error.contains("start one with `tidegate serve`"), "{error}");
}
