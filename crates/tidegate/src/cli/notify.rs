//! `tidegate notify`.

use clap::{Args, Subcommand};
use tidegate_control::wire::NoticeTested;

use super::{Client, Format, Said, table::plain};

/// What can be done with channels for notices.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum NotifyCommand {
    /// Send a test through the running gateway, and say what came back
    Test(TestArgs),
}

/// Options of `notify test`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TestArgs {
    /// The channel's name in the configuration
    pub(crate) name: String,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

pub(super) fn answer(command: &NotifyCommand, client: &Client) -> anyhow::Result<Said> {
    let NotifyCommand::Test(args) = command;
    let path = format!("/api/v1/notices/{}/test", escaped(&args.name));
    let tested: NoticeTested = client.post(&path, &serde_json::Value::Null)?;
    let said = if args.format.json {
        Said::json(&tested)?
    } else {
        Said::fine(show(&tested))
    };
    Ok(Said {
        failed: !tested.delivered,
        ..said
    })
}

/// A name as a part of a path: whatever no name has is percent-encoded, so that it is refused as
/// what it is.
fn escaped(name: &str) -> String {
    name.bytes()
        .map(|it| match it {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(it).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// What came back, for people.
pub(super) fn show(tested: &NoticeTested) -> String {
    let NoticeTested {
        channel,
        delivered,
        status,
        says,
    } = tested;
    let took = if *delivered {
        "took the notice"
    } else {
        "did NOT take the notice: look at its address, secret and format"
    };
    let says = if says.is_empty() {
        String::new()
    } else {
        format!(", {}", plain(says))
    };
    format!("`{}` {took} ({status}{says})\n", plain(channel))
}
