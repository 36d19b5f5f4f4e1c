//! Providers: where they are, and whom they trust.

use super::*;

#[test]
fn an_address_without_a_host_is_told_so() {
    check_wrong(
        "[providers.a]\nfamily = 'openai'\nbase_url = 'https://'\n[providers.b]\nfamily = 'openai'\nbase_url = 'http:///v2'\n[providers.c]\nfamily = 'openai'\nbase_url = 'http://:80'\n[providers.d]\nfamily = 'openai'\nbase_url = 'ftp://'\n",
        expect![[r#"
            tidegate.toml:4:12: providers.a.base_url: `https://` names no host; write it like https://api.example.com
            tidegate.toml:7:12: providers.b.base_url: `http:///v2` names no host; write it like https://api.example.com
            tidegate.toml:10:12: providers.c.base_url: `http://:80` names no host; write it like https://api.example.com
            tidegate.toml:13:12: providers.d.base_url: `ftp://` begins with neither https:// nor http://; write it like https://api.example.com
        "#]],
    );
}

/// What is said of a provider at `base_url` where the gateway listens on `listen`.
fn said_of(base_url: &str, listen: &str) -> Option<String> {
    let text = format!(
        "version = 1\nlisten = '{listen}'\n[providers.anthropic]\nbase_url = '{base_url}'\n"
    );
    let refused = build_text(&text, &sources(&[])).err();
    refused.map(|it| it.to_string())
}

#[test]
fn a_provider_that_is_the_gateway_itself_is_refused() {
    let said = said_of("http://127.0.0.1:23000/", "127.0.0.1:23000").unwrap();
    expect![[r#"tidegate.toml:4:12: providers.anthropic.base_url: `http://127.0.0.1:23000` is where this gateway itself listens (`listen = "127.0.0.1:23000"`), so that calls would go in a circle; write the provider's own address, or listen on another port"#]]
        .assert_eq(&said);
    for (base_url, listen) in [
        ("http://localhost:23000", "127.0.0.1:23000"),
        ("http://LOCALHOST.:23000/x", "[::1]:23000"),
        ("http://[::1]:23000", "[::1]:23000"),
        ("http://[::1]:23000", "127.0.0.1:23000"),
        ("http://[::ffff:127.0.0.1]:23000", "127.0.0.1:23000"),
        ("http://0.0.0.0:23000", "127.0.0.1:23000"),
        ("http://127.0.0.1:23000", "0.0.0.0:23000"),
        ("http://127.0.0.9:23000", "0.0.0.0:23000"),
        ("http://localhost:23000", "[::]:23000"),
        ("http://192.0.2.7:23000", "192.0.2.7:23000"),
        ("http://localhost", "127.0.0.1:80"),
        ("https://localhost", "127.0.0.1:443"),
    ] {
        assert!(
            said_of(base_url, listen).is_some(),
            "{base_url} at {listen}"
        );
    }
}

#[test]
fn a_provider_on_another_port_or_machine_is_not_the_gateway() {
    for (base_url, listen) in [
        // A gateway before another one.
        ("http://127.0.0.1:23001", "127.0.0.1:23000"),
        ("http://localhost", "127.0.0.1:23000"),
        ("https://localhost", "127.0.0.1:80"),
        ("http://192.0.2.8:23000", "192.0.2.7:23000"),
        ("http://192.0.2.8:23000", "127.0.0.1:23000"),
        ("http://127.0.0.2:23000", "127.0.0.1:23000"),
        ("http://localhost.example.com:23000", "127.0.0.1:23000"),
        // Whatever port it gets, nobody knew it.
        ("http://127.0.0.1:23000", "127.0.0.1:0"),
    ] {
        assert_eq!(said_of(base_url, listen), None, "{base_url} at {listen}");
    }
}

#[test]
fn where_it_listens_by_the_command_line_or_a_variable_counts() {
    let text = "version = 1\nlisten = '127.0.0.1:1'\n[providers.openai]\nbase_url = 'http://127.0.0.1:23000'\n";
    assert!(build_text(text, &sources(&[])).is_ok());
    let variable = sources(&[("TIDEGATE_LISTEN", "127.0.0.1:23000")]);
    assert!(build_text(text, &variable).is_err());
    let flag = Sources {
        listen: Some("127.0.0.1:23000".to_owned()),
        ..sources(&[])
    };
    assert!(build_text(text, &flag).is_err());
    let elsewhere = Sources {
        listen: Some("127.0.0.1:2".to_owned()),
        ..variable
    };
    assert!(build_text(text, &elsewhere).is_ok());
}

#[test]
fn certificates_that_are_none_are_refused_at_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "a text\n").unwrap();
    let text = format!(
        "version = 1\n[providers.anthropic]\nca_file = '/nowhere/ca.pem'\n[providers.openai]\nca_file = '{}'\n",
        file.display()
    );
    let refused = build_text(&text, &sources(&[])).unwrap_err().to_string();
    let folder = folder.path().display().to_string();
    expect![[r#"
        tidegate.toml:3:11: providers.anthropic.ca_file: `/nowhere/ca.pem` cannot be read: No such file or directory (os error 2)
        tidegate.toml:5:11: providers.openai.ca_file: `FOLDER/ca.pem` holds no certificate that can be used; it must be PEM, which begins with -----BEGIN CERTIFICATE-----"#]]
    .assert_eq(&refused.replace(&folder, "FOLDER"));
}
