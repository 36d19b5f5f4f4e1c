//! Kinds of values, with the form each is written in.

use std::{net::SocketAddr, num::NonZeroU64, path::PathBuf, str::FromStr, time::Duration};

use tidegate_admission::OnExcess;
use tidegate_observe::{notice::Topic, record::Level};
use tidegate_types::{Mode, NanoUsd, ParseMoneyError, Priority, RequestClass, Secret};

use super::tree::{Content, Node};

/// A kind of value.
pub(super) trait Setting: Sized {
    /// How it is written, for people: `true or false`.
    fn form() -> String;

    /// Reads it, or says what is wrong and what to write instead.
    fn read(node: &Node) -> Result<Self, String>;

    /// Whether it must not be shown.
    const SECRET: bool = false;
}

/// The answer to a value of another kind.
fn not<T: Setting>(node: &Node) -> String {
    let shown = if T::SECRET {
        "this".to_owned()
    } else {
        format!("`{}`", shortened(&node.to_toml()))
    };
    format!("{shown} is not {}", T::form())
}

/// Values in messages fit a line.
fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    // Before it is cut: half a key looks like none.
    let text = tidegate_observe::redact::redact(text);
    if text.chars().count() <= SHOWN_MAX {
        text.into_owned()
    } else {
        text.chars().take(SHOWN_MAX).chain("…".chars()).collect()
    }
}

impl Setting for bool {
    fn form() -> String {
        "true or false".to_owned()
    }

    fn read(node: &Node) -> Result<Self, String> {
        match node.strict() {
            Content::Boolean(value) => Ok(*value),
            _ => Err(not::<Self>(node)),
        }
    }
}

impl Setting for u64 {
    fn form() -> String {
        "a whole number, not negative".to_owned()
    }

    fn read(node: &Node) -> Result<Self, String> {
        match node.strict() {
            Content::Integer(text) => text.parse().map_err(|_| not::<Self>(node)),
            _ => Err(not::<Self>(node)),
        }
    }
}

impl Setting for String {
    fn form() -> String {
        "a text in quotes".to_owned()
    }

    fn read(node: &Node) -> Result<Self, String> {
        let text = node.text().ok_or_else(|| not::<Self>(node))?;
        Ok(text.to_owned())
    }
}

/// A secret: any text but the empty one.
impl Setting for Secret<String> {
    fn form() -> String {
        "a text in quotes; it is never shown".to_owned()
    }

    fn read(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("") => Err("it is empty; leave it out to have none".to_owned()),
            Some(text) => Ok(Self::new(text.to_owned())),
            None => Err(not::<Self>(node)),
        }
    }

    const SECRET: bool = true;
}

impl Setting for PathBuf {
    fn form() -> String {
        "a path in quotes; a relative one is taken from the folder the program runs in".to_owned()
    }

    fn read(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("") => Err("it is empty; leave it out, or name a path".to_owned()),
            Some(text) => Ok(Self::from(text)),
            None => Err(format!(
                "`{}` is not a path in quotes",
                shortened(&node.to_toml())
            )),
        }
    }
}

impl Setting for SocketAddr {
    fn form() -> String {
        "an address and a port, like \"127.0.0.1:8787\" or \"[::1]:8787\"".to_owned()
    }

    fn read(node: &Node) -> Result<Self, String> {
        let read = node.text().and_then(|it| it.parse().ok());
        read.ok_or_else(|| not::<Self>(node))
    }
}

/// An address, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listening(pub(super) Option<SocketAddr>);

impl Setting for Listening {
    fn form() -> String {
        "an address and a port, like \"127.0.0.1:4318\", or \"off\"".to_owned()
    }

    fn read(node: &Node) -> Result<Self, String> {
        if node.text() == Some("off") {
            return Ok(Self(None));
        }
        let read = node.text().and_then(|it| it.parse().ok());
        read.map(|it| Self(Some(it)))
            .ok_or_else(|| not::<Self>(node))
    }
}

/// A duration: a whole number and a unit.
impl Setting for Duration {
    fn form() -> String {
        "a duration in quotes: a whole number and ms, s, m, h or d, like \"30s\"".to_owned()
    }

    fn read(node: &Node) -> Result<Self, String> {
        let read = node.text().and_then(|text| {
            let (number, unit) = split_unit(text)?;
            let millis = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            number.checked_mul(millis).map(Self::from_millis)
        });
        read.ok_or_else(|| not::<Self>(node))
    }
}

/// `30s`, `256 MiB`: a whole number and what follows it.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|it: char| !it.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim()))
}

/// An amount of memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bytes(pub(super) u64);

impl Setting for Bytes {
    fn form() -> String {
        "a number of bytes, or a text with a unit: kB, MB, GB (thousands), KiB, MiB, GiB (1,024s)"
            .to_owned()
    }

    fn read(node: &Node) -> Result<Self, String> {
        if let Content::Integer(text) = node.strict() {
            return text.parse().map(Self).map_err(|_| not::<Self>(node));
        }
        let read = node.text().and_then(|text| {
            let (number, unit) = split_unit(text)?;
            let scale = match unit {
                "B" => 1,
                "kB" | "KB" => 1_000,
                "MB" => 1_000_000,
                "GB" => 1_000_000_000,
                "KiB" => 1 << 10,
                "MiB" => 1 << 20,
                "GiB" => 1 << 30,
                _ => return None,
            };
            number.checked_mul(scale).map(Self)
        });
        read.ok_or_else(|| not::<Self>(node))
    }
}

/// A limit on money, or the word that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cap(pub(super) Option<NanoUsd>);

impl Setting for Cap {
    fn form() -> String {
        "an amount in dollars, like 5, \"0.25\" or \"$12.50\", or \"none\"".to_owned()
    }

    fn read(node: &Node) -> Result<Self, String> {
        if node.text() == Some("none") {
            return Ok(Self(None));
        }
        match written(node).map(|it| it.parse::<NanoUsd>()) {
            Some(Ok(amount)) => Ok(Self(Some(amount))),
            Some(Err(error)) if error.is_too_large() => Err(error.to_string()),
            _ => Err(not::<Self>(node)),
        }
    }
}

/// A number as it was written, without the underscores between its digits.
fn written(node: &Node) -> Option<String> {
    let text = match node.strict() {
        Content::Integer(text) | Content::Decimal(text) => Some(text.as_str()),
        _ => node.text(),
    };
    text.map(|it| it.replace('_', ""))
}

/// A figure of a bucket: whole, or dollars where the bucket counts those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Amount(String);

impl Amount {
    /// As dollars.
    pub(super) fn money(&self) -> Result<NanoUsd, ParseMoneyError> {
        self.0.parse()
    }

    /// As a whole number.
    pub(super) fn whole(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl Setting for Amount {
    fn form() -> String {
        "a whole number, or dollars where the bucket counts those".to_owned()
    }

    fn read(node: &Node) -> Result<Self, String> {
        let amount = Self(written(node).ok_or_else(|| not::<Self>(node))?);
        match amount.money() {
            Err(_) if amount.whole().is_some() => Ok(amount),
            Err(error) if error.is_too_large() => Err(error.to_string()),
            Err(_) => Err(not::<Self>(node)),
            Ok(_) => Ok(amount),
        }
    }
}

/// How far a quota goes, or the word that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantity(pub(super) Option<NonZeroU64>);

impl Setting for Quantity {
    fn form() -> String {
        "a whole number, 1 or more, or \"none\"".to_owned()
    }

    fn read(node: &Node) -> Result<Self, String> {
        if node.text() == Some("none") {
            return Ok(Self(None));
        }
        let Content::Integer(text) = node.strict() else {
            return Err(not::<Self>(node));
        };
        let number = text.replace('_', "").parse().ok();
        number
            .map(|it| Self(Some(it)))
            .ok_or_else(|| not::<Self>(node))
    }
}

macro_rules! word_settings {
    ($($type:ty, $known:expr;)+) => {
        $(impl Setting for $type {
            fn form() -> String {
                let quoted: Vec<String> = $known.iter().map(|it| format!("\"{it}\"")).collect();
                match quoted.as_slice() {
                    [all @ .., last] if !all.is_empty() => {
                        format!("{} or {last}", all.join(", "))
                    }
                    other => other.join(""),
                }
            }

            fn read(node: &Node) -> Result<Self, String> {
                let read = node.text().and_then(|it| Self::from_str(it).ok());
                read.ok_or_else(|| not::<Self>(node))
            }
        })+
    };
}

word_settings! {
    Mode, Mode::WORDS;
    Priority, Priority::WORDS;
    RequestClass, RequestClass::WORDS;
    Level, ["debug", "info", "warning", "error", "critical"];
    Family, Family::WORDS;
    Countable, Countable::WORDS;
    Per, Per::WORDS;
    LogForm, LogForm::WORDS;
    NoticeForm, NoticeForm::WORDS;
    Topic, Topic::WORDS;
    OnExcess, OnExcess::WORDS;
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal,)+ })+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub(crate) enum $name { $($(#[$inner])* $variant,)+ }

            impl $name {
                /// The written forms.
                pub(crate) const WORDS: &'static [&'static str] = &[$($word),+];
            }

            impl FromStr for $name {
                type Err = ();
                fn from_str(text: &str) -> Result<Self, ()> {
                    match text { $($word => Ok(Self::$variant),)+ _ => Err(()) }
                }
            }
        )+
    };
}

words! {
    /// A family of dialects.
    Family {
        /// Anthropic Messages.
        Anthropic = "anthropic",
        /// OpenAI Chat Completions and Responses.
        OpenAi = "openai",
    }

    /// What a bucket counts.
    Countable {
        /// Abstract units, by the table of weights.
        Units = "units",
        /// Requests.
        Requests = "requests",
        /// Input tokens, as the provider counts them.
        InputTokens = "input_tokens",
        /// Output tokens, as the provider counts them.
        OutputTokens = "output_tokens",
        /// Input and output tokens together.
        Tokens = "tokens",
        /// Money.
        Dollars = "dollars",
        /// Calls at the same time.
        Concurrency = "concurrency",
    }

    /// The period of a refill.
    Per {
        /// 1 s.
        Second = "second",
        /// 60 s.
        Minute = "minute",
        /// 3,600 s.
        Hour = "hour",
        /// 86,400 s.
        Day = "day",
    }

    /// What a notice looks like.
    NoticeForm {
        /// An object for programs.
        Json = "json",
        /// A message for people.
        Slack = "slack",
    }

    /// The form of log lines.
    LogForm {
        /// For people on a terminal, JSON elsewhere.
        Auto = "auto",
        /// One JSON object a line.
        Json = "json",
        /// One short line for people.
        People = "people",
    }
}

/// A list of values. A variable may write texts with commas instead of TOML.
impl<T: Setting> Setting for Vec<T> {
    fn form() -> String {
        format!("a list, each {}", T::form())
    }

    fn read(node: &Node) -> Result<Self, String> {
        match (node.strict(), &node.content) {
            (Content::List(nodes), _) => nodes.iter().map(T::read).collect(),
            (_, Content::Loose(raw, _)) => {
                let parts = raw.split(',').map(str::trim).filter(|it| !it.is_empty());
                let node = |text: &str| Node {
                    content: Content::Text(text.to_owned()),
                    origin: node.origin.clone(),
                };
                parts.map(|it| T::read(&node(it))).collect()
            }
            _ => Err(not::<Self>(node)),
        }
    }
}

/// Texts by name, in the order they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl Setting for Pairs {
    fn form() -> String {
        "a table of texts, like { \"asked\" = \"sent\" }".to_owned()
    }

    fn read(node: &Node) -> Result<Self, String> {
        let Content::Table(table) = node.strict() else {
            return Err(not::<Self>(node));
        };
        let pair = |entry: &super::tree::Entry| {
            let text = String::read(&entry.node)?;
            Ok::<_, String>((entry.name.clone(), text))
        };
        table
            .entries()
            .map(pair)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A time zone by its name.
#[derive(Clone, Debug)]
pub(super) struct Zone(pub(super) jiff::tz::TimeZone);

impl Setting for Zone {
    fn form() -> String {
        "the name of a time zone, like \"Europe/Berlin\" or \"UTC\"".to_owned()
    }

    fn read(node: &Node) -> Result<Self, String> {
        let read = node
            .text()
            .and_then(|it| jiff::tz::TimeZone::get(it).ok())
            .map(Self);
        read.ok_or_else(|| not::<Self>(node))
    }
}
