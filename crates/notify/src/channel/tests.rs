use super::*;

#[test]
fn an_address_is_taken_apart_and_never_shown() {
    let target = Target::try_new("https://hooks.example.com/services/T0/secret?x=1").unwrap();
    assert!(target.tls);
    assert_eq!(
        (target.host.as_str(), target.port),
        ("hooks.example.com", 443)
    );
    assert_eq!(target.path.as_str(), "/services/T0/secret?x=1");
    assert_eq!(format!("{target:?}"), "hooks.example.com");
    let bare = Target::try_new("http://[::1]:8065").unwrap();
    assert_eq!((bare.host.as_str(), bare.port), ("::1", 8_065));
    assert_eq!(bare.path.as_str(), "/");
}

#[test]
fn an_address_that_can_t_be_posted_to_is_refused_without_being_repeated() {
    for url in [
        "hooks.example.com/secret",
        "ftp://example.com/secret",
        "https://secret@example.com/",
        "https://",
        "https:///secret",
        "secret",
    ] {
        let refused = Target::try_new(url).unwrap_err().to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }
}
