//! Channels for notices.

use expect_test::expect;
use tidegate_observe::notice::Topic;

use super::{check_wrong, settings};

#[test]
fn a_webhook_that_can_t_be_posted_to_is_refused_and_not_repeated() {
    check_wrong(
        "
[notify]
address = 'tidegate.example.com'
[notify.webhooks.ops]
secret = 'whsec_hunter2'
[notify.webhooks.two]
url = 'https://hooks.example.com/hunter2'
url_env = 'HOOK'
[notify.webhooks.odd]
url = 'hooks.example.com/hunter2'
secret_env = 'NOT_SET'
[notify.webhooks.'a b']
url = 'https://hooks.example.com/hunter2'
",
        expect![[r#"
            tidegate.toml:4:11: notify.address: this is no address that links could lead to; write it like https://tidegate.example.com
            tidegate.toml:6:10: notify.webhooks.ops.url: it is missing; write url_env, url_file or url with the address to post to
            tidegate.toml:9:11: notify.webhooks.two.url_env: url and url_env are given; keep one of them
            tidegate.toml:11:7: notify.webhooks.odd.url: it is no URL; write it like https://hooks.example.com/services/name
            tidegate.toml:12:14: notify.webhooks.odd.secret_env: the environment has no variable `NOT_SET`; set it, or leave this out to leave its requests unsigned
            tidegate.toml:13:18: notify.webhooks."a b": `a b` is not a name; use 1 to 64 letters, digits, dots, dashes and underscores
        "#]],
    );
}

#[test]
fn a_form_and_an_event_that_are_none_are_refused_with_those_there_are() {
    check_wrong(
        "
[notify.webhooks.ops]
url = 'https://hooks.example.com/hunter2'
format = 'xml'
events = ['limit_passed']
",
        expect![[r#"
            tidegate.toml:5:10: notify.webhooks.ops.format: `"xml"` is not "json" or "slack"
            tidegate.toml:6:10: notify.webhooks.ops.events: `"limit_passed"` is not "approval_asked", "approval_decided", "approval_expired", "limit_reached", "limit_foreseen", "overspent", "admission_decided" or "test"
        "#]],
    );
}

#[test]
fn a_webhook_is_told_of_everything_unless_it_says_of_what() {
    let settings = settings(
        "
[notify]
address = 'https://tidegate.example.com/'
[notify.webhooks.all]
url = 'https://hooks.example.com/hunter2'
[notify.webhooks.some]
url = 'https://hooks.example.com/hunter2'
format = 'slack'
events = ['approval_asked']
",
    );
    let notify = settings.notify;
    assert_eq!(
        notify.address.as_deref(),
        Some("https://tidegate.example.com")
    );
    assert_eq!(notify.channels[0].topics, Topic::ALL);
    assert_eq!(notify.channels[1].topics, [Topic::ApprovalAsked]);
}
