use super::*;

#[test]
fn a_secret_is_found_in_any_form_place_and_case() {
    let texts = [
        text("Prompt"),
        format!("\0\u{1}{}\u{7f}", key("Task")),
        login("Login").to_lowercase(),
        format!("{{\"a\":\"{}\"}}", project_key("Bearer")),
    ];
    let found: Vec<_> = texts.iter().flat_map(|it| found(it.as_bytes())).collect();
    assert_eq!(
        found,
        ["Zq9xkPrompt", "Zq9xkTask", "zq9xklogin", "Zq9xkBearer"]
    );
    assert!(super::found(b"sk-ant-api03-[redacted] Zq9x k").is_empty());
}
