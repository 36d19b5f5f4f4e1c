use super::*;

#[test]
fn topics_are_written_as_they_are_stored_and_read_back() {
    for (topic, word) in Topic::ALL.iter().zip(Topic::WORDS) {
        assert_eq!(topic.word(), *word);
        assert_eq!(word.parse(), Ok(*topic));
        let stored = serde_json::to_string(topic).unwrap();
        assert_eq!(stored, format!("\"{word}\""));
    }
    assert!("limit".parse::<Topic>().is_err());
}

#[test]
fn a_notice_outlasts_being_stored() {
    let notice = Notice {
        id: NoticeId::from_raw(7),
        at: Timestamp::from_seconds(1),
        topic: Topic::ApprovalAsked,
        text: "somebody asks".to_owned(),
        fields: Fields::new().with("limit", "task").with("percent", 80),
        decides: Some(Decides {
            approval: ApprovalId::from_raw(1),
            until: Timestamp::from_seconds(2),
        }),
        to: Some("ops".to_owned()),
    };
    let stored = serde_json::to_vec(&notice).unwrap();
    assert_eq!(serde_json::from_slice::<Notice>(&stored).unwrap(), notice);
}
