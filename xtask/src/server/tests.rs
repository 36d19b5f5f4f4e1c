use super::*;

#[test]
fn the_address_is_found_wherever_the_line_has_it() {
    let found = |line| address_in(line);
    assert_eq!(
        found("gateway on http://127.0.0.1:8787/ (no keys)").as_deref(),
        Some("127.0.0.1:8787")
    );
    assert_eq!(
        found(r#"{"message":"listening","at":"127.0.0.1:41000"}"#).as_deref(),
        Some("127.0.0.1:41000")
    );
    assert_eq!(found("asked for 127.0.0.1:0"), None);
    assert_eq!(found("127.0.0.1: refused"), None);
    assert_eq!(found("http://localhost:80"), None);
}

#[test]
fn a_server_that_says_nothing_and_ends_is_an_error_with_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "echo the data folder is locked >&2; exit 1"]);
    let error = Server::start(&mut command, &folder.path().join("log")).unwrap_err();
    assert!(
        error.to_string().contains("the data folder is locked"),
        "{error}"
    );
}

#[test]
fn a_server_stops_when_it_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    let script = "tail -f /dev/null & trap 'kill $!; exit 7' TERM; echo on 127.0.0.1:1; wait";
    command.args(["-c", script]);
    let server = Server::start(&mut command, &folder.path().join("log")).unwrap();
    assert_eq!(server.url(), "http://127.0.0.1:1");
    assert_eq!(server.stop().unwrap().code(), Some(7));
}
