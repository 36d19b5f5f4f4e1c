use expect_test::expect;

use super::*;

#[test]
fn a_row_reads_like_a_sentence_and_back() {
    let row = AuditRow {
        at: Timestamp(5),
        who: Actor::Key(KeyId::from_raw(3)),
        role: Role::Admin,
        organisation: None,
        action: Action::KeyRevoked,
        object: "key_0000000000000004".to_owned(),
        before: Some(r#"{"role":"caller"}"#.to_owned()),
        after: None,
    };
    let text = serde_json::to_string(&row).unwrap();
    expect![[r#"{"at":5,"who":{"key":"key_0000000000000003"},"role":"admin","action":"key_revoked","object":"key_0000000000000004","before":"{\"role\":\"caller\"}"}"#]].assert_eq(&text);
    assert_eq!(serde_json::from_str::<AuditRow>(&text).unwrap(), row);
}
