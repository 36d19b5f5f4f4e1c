//! Notices: channels, and where the links in them lead.

use tidegate_notify::{Channel, Format, Target};
use tidegate_observe::notice::Topic;

use super::secrets::Given;
use crate::config::{Sources, schema::Reader, sections, settings::Notify, tree, value::NoticeForm};

pub(super) fn check(raw: &sections::Notify, reader: &mut Reader, sources: &Sources) -> Notify {
    let address = raw.address.as_deref().map(|it| address(it, reader));
    let mut channels = Vec::new();
    for (name, raw) in &raw.webhooks {
        channels.extend(webhook(name, raw, reader, sources));
    }
    Notify { address, channels }
}

/// Without a closing slash.
fn address(written: &str, reader: &mut Reader) -> String {
    let bare = written.trim_end_matches('/');
    let wrong = match Target::try_new(bare) {
        Err(wrong) => Some(wrong.to_string()),
        Ok(_) if bare.contains(['?', '#', '|', '>', ' ']) => {
            Some("it has more than a host and a path".to_owned())
        }
        Ok(_) => None,
    };
    if wrong.is_some() {
        let key = "notify.address".to_owned();
        let message = "this is no address that links could lead to; write it like https://tidegate.example.com";
        reader.refuse(reader.origin(&key), key, message);
    }
    bare.to_owned()
}

fn webhook(
    name: &str,
    raw: &sections::Webhook,
    reader: &mut Reader,
    sources: &Sources,
) -> Option<Channel> {
    let path = format!("notify.webhooks.{}", tree::key(name));
    let fits = super::name_fits(name, &path, reader);
    let url = Given {
        key: "url",
        value: raw.url.as_ref(),
        variable: raw.url_env.as_ref(),
        file: raw.url_file.as_ref(),
        without: "have no such channel",
    };
    let known = reader.problems.len();
    let url = url.read(&path, reader, sources);
    if url.is_none() && reader.problems.len() == known {
        let key = format!("{path}.url");
        let message = "it is missing; write url_env, url_file or url with the address to post to";
        reader.refuse(reader.origin(&key), key, message);
    }
    let target = url.and_then(|(key, url)| {
        let target = Target::try_new(url.expose().trim());
        let refuse = |wrong: tidegate_notify::TargetError| {
            reader.refuse(reader.origin(&key), key, wrong.to_string());
        };
        target.map_err(refuse).ok()
    });
    let secret = Given {
        key: "secret",
        value: raw.secret.as_ref(),
        variable: raw.secret_env.as_ref(),
        file: raw.secret_file.as_ref(),
        without: "leave its requests unsigned",
    };
    let secret = secret.read(&path, reader, sources).map(|it| it.1);
    let target = target.filter(|_| fits)?;
    Some(Channel {
        name: name.into(),
        target,
        secret,
        format: match raw.format {
            NoticeForm::Json => Format::Json,
            NoticeForm::Slack => Format::Slack,
        },
        topics: if raw.events.is_empty() {
            Topic::ALL.to_vec()
        } else {
            raw.events.clone()
        },
    })
}
