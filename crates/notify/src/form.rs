//! What is sent: a notice as an object for programs, and as a message for people.

use serde_json::{Map, Value, json};
use tidegate_engine::approvals::{Link, LinkKey};
use tidegate_observe::{notice::Notice, record::rfc3339_seconds};

use crate::{Channel, Format};

/// Characters of a message that are shown. Slack refuses a section of more than 3,000.
const TEXT_CHARS_MAX: usize = 2_000;

/// Where links lead, and what signs them.
#[derive(Debug)]
pub(crate) struct Links<'a> {
    /// `https://tidegate.example.com`, without a closing slash.
    pub(crate) address: &'a str,
    pub(crate) key: &'a LinkKey,
}

impl Links<'_> {
    /// Where a reader of the channel says yes, and where no, if there is anything to decide.
    fn of(&self, notice: &Notice, channel: &Channel) -> Option<[String; 2]> {
        let decides = notice.decides?;
        let link = |approve| {
            let link = Link {
                approval: decides.approval,
                approve,
                until: decides.until.seconds(),
                channel: channel.name.clone(),
            };
            format!("{}{}", self.address, self.key.path(&link))
        };
        Some([link(true), link(false)])
    }
}

/// The body of a request.
pub(crate) fn body(notice: &Notice, channel: &Channel, links: &Links<'_>) -> String {
    let links = links.of(notice, channel);
    match channel.format {
        Format::Json => for_programs(notice, links),
        Format::Slack => for_people(notice, links),
    }
    .to_string()
}

fn for_programs(notice: &Notice, links: Option<[String; 2]>) -> Value {
    let mut object = Map::new();
    for (name, value) in notice.fields.iter() {
        object.insert(name.to_owned(), value.clone());
    }
    if let Some([approve, deny]) = links {
        object.insert("approve_url".to_owned(), approve.into());
        object.insert("deny_url".to_owned(), deny.into());
    }
    for (name, value) in [
        ("type", notice.topic.word().to_owned()),
        ("id", notice.id.to_string()),
        ("at", rfc3339_seconds(notice.at)),
        ("text", notice.text.clone()),
    ] {
        object.insert(name.to_owned(), value.into());
    }
    Value::Object(object)
}

/// `text` holds all of it: compatible receivers read nothing else.
fn for_people(notice: &Notice, links: Option<[String; 2]>) -> Value {
    let links = links.map(|[approve, deny]| format!("\n<{approve}|Approve> · <{deny}|Deny>"));
    let text = escaped(&notice.text) + &links.unwrap_or_default();
    json!({
        "text": text,
        "blocks": [
            { "type": "section", "text": { "type": "mrkdwn", "text": text } },
            { "type": "context", "elements": [
                { "type": "mrkdwn", "text": format!("Tidegate · {} · {}", notice.topic, rfc3339_seconds(notice.at)) },
            ] },
        ],
    })
}

/// Shortened, and without what Slack takes for links and mentions: names in it are chosen by clients.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (place, character) in text.chars().enumerate() {
        if place == TEXT_CHARS_MAX {
            out.push('…');
            break;
        }
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests;
