//! `cargo xtask prices WHEEL`: OpenAI's prices, as data, out of the JSON file in a litellm wheel.
//!
//! The wheel is read, never installed. What is taken are facts: ids and figures.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::value::RawValue;

/// The file inside the wheel.
const MEMBER: &str = "litellm/model_prices_and_context_window_backup.json";
/// It has 2 MB; a wheel whose file unpacks to far more is not the one we know.
const MEMBER_BYTES_MAX: u64 = 64 << 20;
/// Where the table belongs, from the root.
const TABLE: &str = "crates/providers/prices/openai.toml";

/// Significant digits a figure is believed to: some were computed in doubles by whoever wrote the
/// file, and read `4.0000000000000003e-07`.
const DIGITS_BELIEVED: usize = 15;

/// Reads `wheel`, a file named like `litellm-1.100.5-….whl`, and writes the table of OpenAI's chat
/// and responses models.
///
/// # Errors
/// It is no wheel, lacks the file, or the file says something that cannot be a price.
pub(crate) fn update(wheel: &Path) -> Result<()> {
    let name = wheel.file_name().and_then(|it| it.to_str());
    let release = name
        .and_then(|it| it.strip_prefix("litellm-")?.split('-').next())
        .context("the wheel's file name says its version: litellm-1.100.5-….whl")?;
    let file =
        File::open(wheel).with_context(|| format!("{} cannot be opened", wheel.display()))?;
    let mut archive = zip::ZipArchive::new(file).context("a wheel is a zip archive")?;
    let member = archive.by_name(MEMBER).context(MEMBER)?;
    let date = member.last_modified().context("the file has no date")?;
    let date = format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day());
    let mut json = String::new();
    member.take(MEMBER_BYTES_MAX).read_to_string(&mut json)?;
    let written = crate::shell::root().join(TABLE);
    fs::write(written, table(&json, release, &date)?).context(TABLE)
}

/// The fields of one model as they are written, so that no float comes between the file and us.
type Fields = BTreeMap<String, Box<RawValue>>;

/// The table as text.
fn table(json: &str, release: &str, date: &str) -> Result<String> {
    let models: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json)?;
    let mut rows = Vec::new();
    for (id, fields) in &models {
        // The file also has a row that explains the others: not every row is of the same shape.
        let Ok(fields) = serde_json::from_str::<Fields>(fields.get()) else {
            continue;
        };
        let row = Row::read(id, &fields).with_context(|| format!("model `{id}`"))?;
        rows.extend(row);
    }
    ensure!(!rows.is_empty(), "no model of OpenAI's in the file");
    Ok(written(&rows, release, date))
}

/// Pico-dollars per token: 1 $ per million tokens is 1,000,000 of them.
type Pico = u64;

struct Rates {
    input: Pico,
    cache_read: Pico,
    cache_write: Pico,
    output: Pico,
}

/// An exact fraction.
#[derive(Clone, Copy)]
struct Ratio(Pico, Pico);

impl Ratio {
    fn max(self, other: Self) -> Self {
        let cross = |a: Self, b: Self| u128::from(a.0) * u128::from(b.1);
        if cross(other, self) > cross(self, other) {
            other
        } else {
            self
        }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut a, mut b) = (self.0, self.1);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        write!(f, "\"{}/{}\"", self.0 / a, self.1 / a)
    }
}

struct Row<'a> {
    id: &'a str,
    rates: Rates,
    tiers: Vec<(u64, Rates)>,
    batch: Option<Ratio>,
    flex: Option<Ratio>,
    fast: Option<Ratio>,
    regional: Option<Ratio>,
    web_search: Option<Pico>,
    context: Option<u64>,
    output_max: Option<u64>,
}

impl<'a> Row<'a> {
    /// `None` for other providers, for what is no text model, and for rows without prices.
    fn read(id: &'a str, fields: &Fields) -> Result<Option<Self>> {
        let is = |key: &str, words: &[&str]| {
            let word = fields.get(key).map(|it| it.get().trim_matches('"'));
            word.is_some_and(|it| words.contains(&it))
        };
        if !is("litellm_provider", &["openai"]) || !is("mode", &["chat", "responses"]) {
            return Ok(None);
        }
        let Some(rates) = rates(fields, "")? else {
            return Ok(None);
        };
        let mut tiers = Vec::new();
        for above in thresholds(fields) {
            let suffix = format!("_above_{above}k_tokens");
            tiers.extend(rates_at(fields, &suffix)?.map(|it| (above * 1_000, it)));
        }
        let mut regional = None;
        for geography in ["eu", "us"] {
            let key = format!("regional_processing_uplift_multiplier_{geography}");
            if let Some(uplift) = figure(fields, &key, 6)? {
                let uplift = Ratio(uplift, 1_000_000);
                regional = Some(regional.map_or(uplift, |it: Ratio| it.max(uplift)));
            }
        }
        Ok(Some(Self {
            id,
            rates,
            tiers,
            batch: ratio(fields, "_batches")?,
            flex: ratio(fields, "_flex")?,
            fast: ratio(fields, "_priority")?,
            regional,
            web_search: web_search(fields)?,
            context: figure(fields, "max_input_tokens", 0)?,
            output_max: figure(fields, "max_output_tokens", 0)?,
        }))
    }
}

/// The prices of a request below every threshold. Tokens of sound are counted as tokens like any
/// other by those who read the usage, so where they have a price, the dearer one counts.
fn rates(fields: &Fields, suffix: &str) -> Result<Option<Rates>> {
    let mut rates = rates_at(fields, suffix)?;
    if let Some(rates) = &mut rates {
        let sound_in = figure(fields, "input_cost_per_audio_token", 12)?;
        let sound_out = figure(fields, "output_cost_per_audio_token", 12)?;
        rates.input = rates.input.max(sound_in.unwrap_or(0));
        rates.cache_read = rates.cache_read.max(sound_in.unwrap_or(0));
        rates.cache_write = rates.cache_write.max(rates.input);
        rates.output = rates.output.max(sound_out.unwrap_or(0));
    }
    Ok(rates)
}

/// Cached input without a price costs what input costs; so do writes, which cost no less either.
fn rates_at(fields: &Fields, suffix: &str) -> Result<Option<Rates>> {
    let price = |name: &str| figure(fields, &format!("{name}{suffix}"), 12);
    let input = price("input_cost_per_token")?;
    let output = price("output_cost_per_token")?;
    let (Some(input), Some(output)) = (input, output) else {
        return Ok(None);
    };
    let cache_write = price("cache_creation_input_token_cost")?;
    Ok(Some(Rates {
        input,
        cache_read: price("cache_read_input_token_cost")?.unwrap_or(input),
        cache_write: cache_write.unwrap_or(input).max(input),
        output,
    }))
}

/// The thresholds, in thousands of tokens, that the prices of input name.
fn thresholds(fields: &Fields) -> BTreeSet<u64> {
    let keys = fields.keys().filter_map(|it| {
        let rest = it.strip_prefix("input_cost_per_token_above_")?;
        rest.strip_suffix("k_tokens")?.parse().ok()
    });
    keys.collect()
}

/// How much dearer or cheaper tokens are in another service tier; the dearest of the classes that
/// have a price there. `None` unless input and output both have one.
fn ratio(fields: &Fields, suffix: &str) -> Result<Option<Ratio>> {
    let mut ratios = Vec::new();
    for (name, needed) in [
        ("input_cost_per_token", true),
        ("output_cost_per_token", true),
        ("cache_read_input_token_cost", false),
        ("cache_creation_input_token_cost", false),
    ] {
        let plain = figure(fields, name, 12)?.filter(|it| *it > 0);
        let other = figure(fields, &format!("{name}{suffix}"), 12)?.filter(|it| *it > 0);
        match (plain, other) {
            (Some(plain), Some(other)) => ratios.push(Ratio(other, plain)),
            _ if needed => return Ok(None),
            _ => {}
        }
    }
    Ok(ratios.into_iter().reduce(Ratio::max))
}

/// The dearest search, in millionths of dollars per thousand, so that it prints like other prices.
fn web_search(fields: &Fields) -> Result<Option<Pico>> {
    let Some(sizes) = fields.get("search_context_cost_per_query") else {
        return Ok(None);
    };
    let sizes: Fields = serde_json::from_str(sizes.get())?;
    let mut dearest = None;
    for size in sizes.keys() {
        dearest = dearest.max(figure(&sizes, size, 9)?);
    }
    Ok(dearest)
}

/// A figure in units of `10^-decimals`; it has to be a whole number of them.
fn figure(fields: &Fields, key: &str, decimals: i32) -> Result<Option<u64>> {
    let Some(text) = fields.get(key).map(|it| it.get()) else {
        return Ok(None);
    };
    if text == "null" {
        return Ok(None);
    }
    let whole = whole_units(text, decimals);
    let whole = whole.with_context(|| format!("`{key}` cannot be {text}"))?;
    Ok(Some(whole))
}

fn whole_units(text: &str, decimals: i32) -> Option<u64> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut places =
        exponent.parse::<i32>().ok()? + decimals - i32::try_from(fraction.len()).ok()?;
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let (believed, noise) = digits.split_at(digits.len().min(DIGITS_BELIEVED));
    places += i32::try_from(noise.len()).ok()?;
    let mut value: u64 = format!("0{believed}").parse().ok()?;
    if noise.bytes().next().is_some_and(|it| it >= b'5') {
        value += 1;
    }
    while places < 0 && value > 0 {
        if !value.is_multiple_of(10) {
            return None;
        }
        value /= 10;
        places += 1;
    }
    value.checked_mul(10_u64.checked_pow(u32::try_from(places.max(0)).ok()?)?)
}

/// Dollars per million.
fn dollars(pico: Pico) -> String {
    let (dollars, rest) = (pico / 1_000_000, pico % 1_000_000);
    if rest == 0 {
        return dollars.to_string();
    }
    format!("{dollars}.{}", format!("{rest:06}").trim_end_matches('0'))
}

fn written(rows: &[Row<'_>], release: &str, date: &str) -> String {
    let dearest = |pick: fn(&Row<'_>) -> Option<Ratio>| {
        rows.iter().filter_map(pick).fold(Ratio(1, 1), Ratio::max)
    };
    let fast = dearest(|it| it.fast);
    let regional = dearest(|it| it.regional);
    let searches = rows.iter().filter_map(|it| it.web_search).max();
    let search = dollars(searches.unwrap_or(0));
    let mut text = format!(
        "# What OpenAI charges, in dollars per million tokens. Written by `cargo xtask prices`.
format = 1
version = \"openai-{date}\"
source = \"{MEMBER} of PyPI's litellm {release} (MIT)\"
date = {date}

# Where a model lists no discount there is none; where it lists no surcharge, the largest of any.
[providers.openai.defaults]
batch = 1
flex = 1
fast = {fast}
regional = {regional}
web_search_per_1000 = {search}
automatic_cache_writes = false
"
    );
    for row in rows {
        row.write(&mut text);
    }
    text
}

impl Row<'_> {
    fn write(&self, text: &mut String) {
        text.push_str("\n[providers.openai.models.\"");
        text.push_str(self.id);
        text.push_str("\"]\n");
        let mut line = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                text.extend([key, " = ", &value, "\n"]);
            }
        };
        for (key, value) in self.rates.named() {
            line(key, Some(dollars(value)));
        }
        if !self.tiers.is_empty() {
            let tiers = self.tiers.iter().map(|(above, rates)| {
                let prices = rates
                    .named()
                    .map(|(key, value)| format!("{key} = {}", dollars(value)));
                format!("{{ above = {above}, {} }}", prices.join(", "))
            });
            let tiers: Vec<String> = tiers.collect();
            line("tiers", Some(format!("[{}]", tiers.join(", "))));
        }
        line("batch", self.batch.map(|it| it.to_string()));
        line("flex", self.flex.map(|it| it.to_string()));
        line("fast", self.fast.map(|it| it.to_string()));
        line("regional", self.regional.map(|it| it.to_string()));
        line("web_search_per_1000", self.web_search.map(dollars));
        let unasked = self.rates.cache_write > self.rates.input;
        line("automatic_cache_writes", unasked.then(|| "true".to_owned()));
        line("context", self.context.map(|it| it.to_string()));
        line("output_max", self.output_max.map(|it| it.to_string()));
    }
}

impl Rates {
    fn named(&self) -> [(&'static str, Pico); 5] {
        [
            ("input", self.input),
            ("cache_read", self.cache_read),
            ("cache_write_5m", self.cache_write),
            ("cache_write_1h", self.cache_write),
            ("output", self.output),
        ]
    }
}

#[cfg(test)]
mod tests;
