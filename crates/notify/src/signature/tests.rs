use super::*;

/// Made with `printf '1784116800.{"type":"test"}' | openssl dgst -sha256 -hmac whsec_test`.
#[test]
fn a_signature_is_what_other_tools_make_of_the_same_text() {
    expect_test::expect![
        "t=1784116800,v1=7c6e076f0d493128a3593c2ccfae6dcabb22fea66d46954aff82f5b5f9b41cbf"
    ]
    .assert_eq(&sign("whsec_test", 1_784_116_800, br#"{"type":"test"}"#));
}

#[test]
fn another_secret_time_or_body_has_another_signature() {
    let one = sign("a", 1, b"body");
    for other in [
        sign("b", 1, b"body"),
        sign("a", 2, b"body"),
        sign("a", 1, b"bodies"),
    ] {
        assert_ne!(one, other);
    }
    assert_ne!(
        sign(&"k".repeat(64), 1, b""),
        sign(&"k".repeat(200), 1, b"")
    );
}
