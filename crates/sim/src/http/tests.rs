use std::{
    io::{Read, Write},
    net::TcpStream,
};

use super::*;

/// Sends `request` as it is and reads until the connection ends; what was read and how it ended.
fn exchange(provider: &EmulatedProvider, request: &[u8]) -> (String, Option<io::ErrorKind>) {
    let mut stream = TcpStream::connect(provider.addr()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer).err().map(|it| it.kind());
    (String::from_utf8_lossy(&answer).into_owned(), ended)
}

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

fn messages(prompt: &str, stream: bool) -> String {
    format!(
        r#"{{"model":"claude-opus-5-5","max_tokens":1000,"stream":{stream},"messages":[{{"role":"user","content":{}}}]}}"#,
        serde_json::Value::from(prompt)
    )
}

const KEY: &str = "x-api-key: sk-fake\r\nanthropic-version: 2023-06-01\r\n";

#[test]
fn smoke() {
    let provider = EmulatedProvider::start(ProviderSpec::default()).unwrap();
    for stream in [false, true] {
        let (answer, ended) = exchange(
            &provider,
            &post("/v1/messages", KEY, &messages("hello", stream)),
        );
        println!("{answer}\n{ended:?}");
    }
    for body in ["/v1/chat/completions", "/v1/responses"] {
        for stream in [false, true] {
            let (answer, ended) = exchange(
                &provider,
                &post(
                    body,
                    "authorization: Bearer x\r\n",
                    &format!(
                        r#"{{"model":"gpt-5","stream":{stream},"stream_options":{{"include_usage":true}},"tools":[{{"type":"function","name":"a"}}],"input":"sim:tool a {{\"x\":1}}","messages":[{{"role":"user","content":"sim:tool a {{\"x\":1}}"}}]}}"#
                    ),
                ),
            );
            println!("{answer}\n{ended:?}");
        }
    }
    for fault in [
        "reset",
        "reset-mid-stream",
        "cut-mid-stream",
        "close-mid-stream",
        "close-mid-event",
        "error-event",
        "garbage",
        "truncated-json",
        "429=7",
        "529",
        "spend-cap",
    ] {
        for stream in [false, true] {
            let (answer, ended) = exchange(
                &provider,
                &post(
                    "/v1/messages",
                    KEY,
                    &messages(&format!("sim:fault {fault}"), stream),
                ),
            );
            println!("{fault} {answer}\n{ended:?}");
        }
    }
    println!("{:#?}", provider.wire_log().last());
}
