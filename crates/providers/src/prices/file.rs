//! Reads a price table: strict, exact, and with errors that point at the line.

use std::ops::Range;

use tidegate_types::Tokens;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    PriceError,
    model::{PicoUsd, Ratio, TIERS_MAX},
};
use crate::decimal::scaled;

/// The format of price tables that this code reads.
const FORMAT: &str = "1";
/// Largest table text. The built-in tables are a tenth of it.
const TABLE_BYTES_MAX: usize = 1 << 20;
/// Dearest price that is believed, in dollars per million tokens: a thousand times the dearest one
/// published. Beyond it somebody mistook the unit.
const PRICE_MAX_USD: u64 = 1_000_000;
/// Largest context, output or threshold that is believed, in tokens.
const TOKENS_MAX: u64 = 1_000_000_000;

const PRICE_REMEDY: &str = "write dollars per million tokens, like 4 or 0.125, with at most six decimals and at most 1000000";

/// One table as written.
#[derive(Debug, Default)]
pub(super) struct TableText {
    pub(super) version: Option<String>,
    pub(super) source: Option<String>,
    pub(super) date: Option<String>,
    pub(super) providers: Vec<(String, ProviderText)>,
}

/// One provider as written.
#[derive(Debug, Default)]
pub(super) struct ProviderText {
    pub(super) free: Option<bool>,
    pub(super) defaults: TermsText,
    pub(super) models: Vec<(String, ModelText)>,
}

/// One row as written.
#[derive(Debug)]
pub(super) struct ModelText {
    pub(super) place: Place,
    pub(super) rates: RatesText,
    pub(super) tiers: Option<Vec<TierText>>,
    pub(super) terms: TermsText,
}

/// One long-context tier as written.
#[derive(Debug)]
pub(super) struct TierText {
    pub(super) place: Place,
    pub(super) above: Tokens,
    pub(super) rates: RatesText,
}

/// Where something stands, for errors.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) key: String,
}

/// The five prices, as far as written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RatesText {
    pub(super) input: Option<PicoUsd>,
    pub(super) cache_read: Option<PicoUsd>,
    pub(super) cache_write_5m: Option<PicoUsd>,
    pub(super) cache_write_1h: Option<PicoUsd>,
    pub(super) output: Option<PicoUsd>,
}

/// What else a row says, as far as written; also what a provider's rows say unless they differ.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TermsText {
    pub(super) batch: Option<Ratio>,
    pub(super) flex: Option<Ratio>,
    pub(super) fast: Option<Ratio>,
    pub(super) regional: Option<Ratio>,
    pub(super) web_search: Option<PicoUsd>,
    pub(super) automatic_cache_writes: Option<bool>,
    pub(super) context: Option<Tokens>,
    pub(super) output_max: Option<Tokens>,
}

impl TermsText {
    /// These, and where they say nothing, `other`'s.
    #[must_use]
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            batch: self.batch.or(other.batch),
            flex: self.flex.or(other.flex),
            fast: self.fast.or(other.fast),
            regional: self.regional.or(other.regional),
            web_search: self.web_search.or(other.web_search),
            automatic_cache_writes: self.automatic_cache_writes.or(other.automatic_cache_writes),
            context: self.context.or(other.context),
            output_max: self.output_max.or(other.output_max),
        }
    }
}

const RATE_KEYS: [&str; 5] = [
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
];
const TERM_KEYS: [&str; 8] = [
    "batch",
    "flex",
    "fast",
    "regional",
    "web_search_per_1000",
    "automatic_cache_writes",
    "context",
    "output_max",
];

/// Reads a whole table.
pub(super) fn read(text: &str) -> Result<TableText, PriceError> {
    if text.len() > TABLE_BYTES_MAX {
        return Err(PriceError::TooLong {
            bytes: text.len(),
            bytes_max: TABLE_BYTES_MAX,
        });
    }
    let document = DeTable::parse(text).map_err(|source| PriceError::Syntax {
        line: source.span().map_or(1, |it| line_of(text, &it)),
        source: Box::new(source),
    })?;
    let root = Section {
        text,
        key: String::new(),
        span: 0..0,
        table: document.get_ref(),
    };
    root.only(&[&["format", "version", "source", "date", "providers"]])?;
    root.check_format()?;
    let mut table = TableText {
        version: root.string("version")?,
        source: root.string("source")?,
        date: root.string("date")?,
        providers: Vec::new(),
    };
    if let Some(providers) = root.section("providers")? {
        for name in providers.names() {
            if let Some(section) = providers.section(name)? {
                table.providers.push((name.to_owned(), provider(&section)?));
            }
        }
    }
    Ok(table)
}

fn provider(section: &Section<'_>) -> Result<ProviderText, PriceError> {
    section.only(&[&["free", "defaults", "models"]])?;
    let mut provider = ProviderText {
        free: section.boolean("free")?,
        ..ProviderText::default()
    };
    if let Some(defaults) = section.section("defaults")? {
        defaults.only(&[&TERM_KEYS])?;
        provider.defaults = terms(&defaults)?;
    }
    if let Some(models) = section.section("models")? {
        for name in models.names() {
            if let Some(row) = models.section(name)? {
                provider.models.push((name.to_owned(), model(&row)?));
            }
        }
    }
    Ok(provider)
}

fn model(row: &Section<'_>) -> Result<ModelText, PriceError> {
    row.only(&[&RATE_KEYS, &TERM_KEYS, &["tiers"]])?;
    Ok(ModelText {
        place: row.place(),
        rates: rates(row)?,
        tiers: row.sections("tiers")?.map(|it| tiers(&it)).transpose()?,
        terms: terms(row)?,
    })
}

fn tiers(written: &[Section<'_>]) -> Result<Vec<TierText>, PriceError> {
    let mut tiers: Vec<TierText> = Vec::new();
    for it in written {
        it.only(&[&RATE_KEYS, &["above"]])?;
        let Some(above) = it.tokens("above")? else {
            return Err(it
                .place()
                .missing("above", "the longest input the tier does not apply to"));
        };
        if tiers.last().is_some_and(|last| last.above >= above) || tiers.len() == TIERS_MAX {
            let remedy = format!("give at most {TIERS_MAX} tiers, by rising threshold");
            return Err(it.place().wrong("above", &above.0.to_string(), &remedy));
        }
        tiers.push(TierText {
            place: it.place(),
            above,
            rates: rates(it)?,
        });
    }
    Ok(tiers)
}

fn rates(section: &Section<'_>) -> Result<RatesText, PriceError> {
    Ok(RatesText {
        input: section.price("input", 6)?,
        cache_read: section.price("cache_read", 6)?,
        cache_write_5m: section.price("cache_write_5m", 6)?,
        cache_write_1h: section.price("cache_write_1h", 6)?,
        output: section.price("output", 6)?,
    })
}

fn terms(section: &Section<'_>) -> Result<TermsText, PriceError> {
    Ok(TermsText {
        batch: section.ratio("batch")?,
        flex: section.ratio("flex")?,
        fast: section.ratio("fast")?,
        regional: section.ratio("regional")?,
        // Dollars per thousand calls are 10⁹ pico-dollars a call.
        web_search: section.price("web_search_per_1000", 9)?,
        automatic_cache_writes: section.boolean("automatic_cache_writes")?,
        context: section.tokens("context")?,
        output_max: section.tokens("output_max")?,
    })
}

/// One TOML table with the path that leads to it.
struct Section<'a> {
    text: &'a str,
    key: String,
    span: Range<usize>,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    fn place(&self) -> Place {
        Place {
            line: line_of(self.text, &self.span),
            key: self.key.clone(),
        }
    }

    fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.table.keys().map(|it| it.get_ref().as_ref())
    }

    /// Refuses keys that are in none of the lists.
    fn only(&self, known: &[&[&str]]) -> Result<(), PriceError> {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if !known.iter().any(|it| it.contains(&name)) {
                return Err(PriceError::UnknownKey {
                    line: line_of(self.text, &key.span()),
                    key: self.place().path(name),
                    known: known.concat().join(", "),
                });
            }
        }
        Ok(())
    }

    fn value(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        let mut entries = self.table.iter();
        entries
            .find(|(key, _)| key.get_ref() == name)
            .map(|(_, value)| value)
    }

    fn wrong(&self, name: &str, value: &Spanned<DeValue<'_>>, remedy: &str) -> PriceError {
        let place = Place {
            line: line_of(self.text, &value.span()),
            key: self.key.clone(),
        };
        let written = self.text.get(value.span()).unwrap_or_default();
        place.wrong(name, written, remedy)
    }

    fn section(&self, name: &str) -> Result<Option<Self>, PriceError> {
        self.value(name)
            .map(|value| self.within(name, value))
            .transpose()
    }

    fn within(&self, name: &str, value: &'a Spanned<DeValue<'a>>) -> Result<Self, PriceError> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong(name, value, "write a table, in braces or under a header"));
        };
        Ok(Self {
            text: self.text,
            key: self.place().path(name),
            span: value.span(),
            table,
        })
    }

    fn sections(&self, name: &str) -> Result<Option<Vec<Self>>, PriceError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let DeValue::Array(items) = value.get_ref() else {
            return Err(self.wrong(name, value, "write a list of tables"));
        };
        let sections = items.iter().map(|it| self.within(name, it));
        sections.collect::<Result<_, _>>().map(Some)
    }

    fn check_format(&self) -> Result<(), PriceError> {
        let Some(value) = self.value("format") else {
            return Err(self.place().missing("format", "write `format = 1` first"));
        };
        match number(value.get_ref()) {
            Some(FORMAT) => Ok(()),
            _ => Err(self.wrong("format", value, "this version reads format 1")),
        }
    }

    fn string(&self, name: &str) -> Result<Option<String>, PriceError> {
        let read = |value: &'a Spanned<DeValue<'a>>| match value.get_ref() {
            DeValue::String(text) => Ok(text.clone().into_owned()),
            DeValue::Datetime(date) => Ok(date.to_string()),
            _ => Err(self.wrong(name, value, "write a text in quotes")),
        };
        self.value(name).map(read).transpose()
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>, PriceError> {
        let read = |value: &Spanned<DeValue<'a>>| {
            let read = value.get_ref().as_bool();
            read.ok_or_else(|| self.wrong(name, value, "write true or false"))
        };
        self.value(name).map(read).transpose()
    }

    /// A price in dollars, in units of `10^-decimals` of it.
    fn price(&self, name: &str, decimals: u32) -> Result<Option<PicoUsd>, PriceError> {
        let units_max = PRICE_MAX_USD * 10_u64.pow(decimals);
        let read = |value: &'a Spanned<DeValue<'a>>| {
            let read = number(value.get_ref()).and_then(|it| scaled(it, decimals));
            let price = read.filter(|it| it.exact && it.units <= units_max);
            price
                .map(|it| PicoUsd(it.units))
                .ok_or_else(|| self.wrong(name, value, PRICE_REMEDY))
        };
        self.value(name).map(read).transpose()
    }

    fn tokens(&self, name: &str) -> Result<Option<Tokens>, PriceError> {
        let read = |value: &'a Spanned<DeValue<'a>>| {
            let read = number(value.get_ref()).and_then(|it| scaled(it, 0));
            let tokens = read.filter(|it| it.exact && (1..=TOKENS_MAX).contains(&it.units));
            tokens.map(|it| Tokens(it.units)).ok_or_else(|| {
                self.wrong(
                    name,
                    value,
                    "write a whole number of tokens, from 1 to 1000000000",
                )
            })
        };
        self.value(name).map(read).transpose()
    }

    fn ratio(&self, name: &str) -> Result<Option<Ratio>, PriceError> {
        let read = |value: &'a Spanned<DeValue<'a>>| {
            ratio(value.get_ref()).ok_or_else(|| {
                self.wrong(
                    name,
                    value,
                    "write a factor above zero, like 0.5, or \"5/3\" with parts up to 1000; to charge nothing, declare the provider `free = true`",
                )
            })
        };
        self.value(name).map(read).transpose()
    }
}

impl Place {
    fn path(&self, name: &str) -> String {
        match self.key.as_str() {
            "" => name.to_owned(),
            key => format!("{key}.{name}"),
        }
    }

    /// `name` is not there and has to be.
    pub(super) fn missing(&self, name: &str, remedy: &str) -> PriceError {
        PriceError::Missing {
            line: self.line,
            key: self.path(name),
            remedy: remedy.to_owned(),
        }
    }

    fn wrong(&self, name: &str, value: &str, remedy: &str) -> PriceError {
        PriceError::Value {
            line: self.line,
            key: self.path(name),
            value: value.chars().take(40).collect(),
            remedy: remedy.to_owned(),
        }
    }
}

/// The digits of a number, written as one or as text.
fn number<'a>(value: &'a DeValue<'_>) -> Option<&'a str> {
    match value {
        DeValue::Integer(it) if it.radix() == 10 => Some(it.as_str()),
        DeValue::Float(it) => Some(it.as_str()),
        DeValue::String(it) => Some(it),
        _ => None,
    }
}

/// `0.5`, `2`, `"20/11"`.
fn ratio(value: &DeValue<'_>) -> Option<Ratio> {
    let text = number(value)?;
    let parts = match text.split_once('/') {
        Some((numerator, denominator)) => (scaled(numerator, 0)?, scaled(denominator, 0)?),
        None => (scaled(text, 6)?, scaled("1", 6)?),
    };
    if !parts.0.exact || !parts.1.exact {
        return None;
    }
    Ratio::try_new(parts.0.units, parts.1.units)
}

/// Counted from 1.
fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or_default();
    1 + memchr::memchr_iter(b'\n', before).count()
}
