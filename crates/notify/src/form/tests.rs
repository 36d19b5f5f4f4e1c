use expect_test::{Expect, expect};
use tidegate_observe::{
    notice::{Decides, NoticeId, Topic},
    record::Fields,
};
use tidegate_types::{ApprovalId, Timestamp};

use super::*;
use crate::Target;

fn asked() -> Notice {
    Notice {
        id: NoticeId::from_raw(0x17),
        at: Timestamp::from_seconds(1_784_116_800),
        topic: Topic::ApprovalAsked,
        text: "budget `task` of `fix <!channel> & run` (acme/ann) would pass its soft limit of $1"
            .to_owned(),
        fields: Fields::new()
            .with("limit", "task")
            .with("organisation", "acme")
            .with("spent_usd", "0.98"),
        decides: Some(Decides {
            approval: ApprovalId::from_raw(7),
            until: Timestamp::from_seconds(1_784_120_400),
        }),
        to: None,
    }
}

fn check(format: Format, notice: &Notice, expect: Expect) {
    let channel = Channel {
        name: "ops".into(),
        target: Target::try_new("http://127.0.0.1/").unwrap(),
        secret: None,
        format,
        topics: Topic::ALL.to_vec(),
    };
    let key = LinkKey::new([7; 32]);
    let links = Links {
        address: "https://tidegate.example.com",
        key: &key,
    };
    let body: Value = serde_json::from_str(&body(notice, &channel, &links)).unwrap();
    expect.assert_eq(&format!("{body:#}"));
}

#[test]
fn a_program_gets_an_object_with_all_that_is_known_and_both_links() {
    check(
        Format::Json,
        &asked(),
        expect![[r#"
        {
          "approve_url": "https://tidegate.example.com/approvals/appr_0000000000000007?d=approve&e=1784120400&c=ops&s=b727bf0f566fb65e1d8b7073f3c0556e0a20d8ec2d011ee3cdc49f6b88fe7fcb",
          "at": "2026-07-15T12:00:00Z",
          "deny_url": "https://tidegate.example.com/approvals/appr_0000000000000007?d=deny&e=1784120400&c=ops&s=bc9cf7299e662512f504ded8e55d00c4fc386653fe93229e0a996e320757c153",
          "id": "ntc_0000000000000017",
          "limit": "task",
          "organisation": "acme",
          "spent_usd": "0.98",
          "text": "budget `task` of `fix <!channel> & run` (acme/ann) would pass its soft limit of $1",
          "type": "approval_asked"
        }"#]],
    );
}

#[test]
fn people_get_a_message_with_both_links_and_nobody_is_called_by_a_name_in_it() {
    check(
        Format::Slack,
        &asked(),
        expect![[r#"
        {
          "blocks": [
            {
              "text": {
                "text": "budget `task` of `fix &lt;!channel&gt; &amp; run` (acme/ann) would pass its soft limit of $1\n<https://tidegate.example.com/approvals/appr_0000000000000007?d=approve&e=1784120400&c=ops&s=b727bf0f566fb65e1d8b7073f3c0556e0a20d8ec2d011ee3cdc49f6b88fe7fcb|Approve> · <https://tidegate.example.com/approvals/appr_0000000000000007?d=deny&e=1784120400&c=ops&s=bc9cf7299e662512f504ded8e55d00c4fc386653fe93229e0a996e320757c153|Deny>",
                "type": "mrkdwn"
              },
              "type": "section"
            },
            {
              "elements": [
                {
                  "text": "Tidegate · approval_asked · 2026-07-15T12:00:00Z",
                  "type": "mrkdwn"
                }
              ],
              "type": "context"
            }
          ],
          "text": "budget `task` of `fix &lt;!channel&gt; &amp; run` (acme/ann) would pass its soft limit of $1\n<https://tidegate.example.com/approvals/appr_0000000000000007?d=approve&e=1784120400&c=ops&s=b727bf0f566fb65e1d8b7073f3c0556e0a20d8ec2d011ee3cdc49f6b88fe7fcb|Approve> · <https://tidegate.example.com/approvals/appr_0000000000000007?d=deny&e=1784120400&c=ops&s=bc9cf7299e662512f504ded8e55d00c4fc386653fe93229e0a996e320757c153|Deny>"
        }"#]],
    );
}

#[test]
fn what_decides_nothing_has_no_links() {
    let notice = Notice {
        topic: Topic::LimitReached,
        text: "budget `user_day` of acme/ann has reached 80 % of its limit".to_owned(),
        decides: None,
        ..asked()
    };
    check(
        Format::Slack,
        &notice,
        expect![[r#"
        {
          "blocks": [
            {
              "text": {
                "text": "budget `user_day` of acme/ann has reached 80 % of its limit",
                "type": "mrkdwn"
              },
              "type": "section"
            },
            {
              "elements": [
                {
                  "text": "Tidegate · limit_reached · 2026-07-15T12:00:00Z",
                  "type": "mrkdwn"
                }
              ],
              "type": "context"
            }
          ],
          "text": "budget `user_day` of acme/ann has reached 80 % of its limit"
        }"#]],
    );
}

#[test]
fn a_text_that_is_too_long_for_a_message_is_cut() {
    let text = escaped(&"é<".repeat(TEXT_CHARS_MAX));
    assert!(text.ends_with('…') && text.len() < 6 * TEXT_CHARS_MAX);
    assert_eq!(
        text.chars().filter(|it| *it == 'é').count(),
        TEXT_CHARS_MAX / 2
    );
}
