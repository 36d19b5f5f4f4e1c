//! The price book: which row a model is charged by, and what happens when there is none.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use arrayvec::ArrayVec;
use tidegate_types::Tokens;

mod file;
mod ids;
mod model;

pub use model::{ModelPrice, Multipliers, PicoUsd, Rates, Ratio, TIERS_MAX, Tier};

use file::{ModelText, ProviderText, RatesText, TermsText};

/// The tables this program carries. `cargo xtask prices` renews the second.
const BUILTIN: [&str; 2] = [
    include_str!("../prices/anthropic.toml"),
    include_str!("../prices/openai.toml"),
];

/// Context of a model of which nothing is known, where no table says more: the largest common one.
const CONTEXT_UNKNOWN: Tokens = Tokens(1_000_000);
/// Longest answer of a model of which nothing is known, where no table says more.
const OUTPUT_UNKNOWN: Tokens = Tokens(128_000);

/// Version of rows that an operator's file changes without naming a version.
const OPERATOR_VERSION: &str = "operator";
/// Row of everything a provider that was declared free sells.
const FREE_ROW: &str = "free";

/// A price table was refused. Always the file's to fix: nothing of it is taken over.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// Longer than any table can be.
    #[error(
        "the price table has {bytes} bytes; at most {bytes_max} are read: leave out rows you don't use"
    )]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// Not TOML.
    #[error("line {line}: the price table is not TOML; the cause names the place")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What the parser says.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A key that means nothing here.
    #[error("line {line}: `{key}` is unknown; known here: {known}")]
    UnknownKey {
        /// Where, from 1.
        line: usize,
        /// Its path.
        key: String,
        /// What could be written instead.
        known: String,
    },
    /// A value that its key cannot have.
    #[error("line {line}: `{key}` cannot be {value}: {remedy}")]
    Value {
        /// Where, from 1.
        line: usize,
        /// Its path.
        key: String,
        /// What was written, shortened.
        value: String,
        /// What to write.
        remedy: String,
    },
    /// A key that must be there.
    #[error("line {line}: `{key}` is missing: {remedy}")]
    Missing {
        /// Where the table that lacks it begins, from 1.
        line: usize,
        /// Its path.
        key: String,
        /// What to write.
        remedy: String,
    },
}

/// Answers what a model costs. Cheap to clone; a changed book is a new one, so that it can be
/// replaced while calls hold quotes of the old one.
#[derive(Clone, Debug)]
pub struct PriceBook(Arc<Tables>);

#[derive(Clone, Debug, Default)]
struct Tables {
    providers: BTreeMap<String, Provider>,
    /// What a model costs that no table of any provider knows.
    dearest: Option<Row>,
}

/// One provider's table.
#[derive(Clone, Debug, Default)]
struct Provider {
    free: bool,
    defaults: TermsText,
    rows: BTreeMap<String, Row>,
    dearest: Option<Row>,
    /// What everything costs where the provider is free.
    gratis: Option<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    price: Arc<ModelPrice>,
    label: Arc<str>,
    version: Arc<str>,
    origin: Arc<Origin>,
}

/// Where rows come from.
#[derive(Debug)]
struct Origin {
    source: String,
    date: String,
}

/// What a call will be charged by.
#[derive(Clone, Debug)]
pub struct Quote {
    /// The prices.
    pub price: Arc<ModelPrice>,
    /// False where no row names the model, so that it costs as much as the dearest one: report it.
    pub known: bool,
    /// The row, for people and records: `claude-opus-5-5`, with its provider before it where that
    /// is not the provider asked for; `dearest of anthropic`; `free`.
    pub row: Arc<str>,
    /// The version of the table that the row is from.
    pub version: Arc<str>,
}

/// A row as listed.
#[derive(Clone, Copy, Debug)]
pub struct ListedPrice<'a> {
    /// Who sells it.
    pub provider: &'a str,
    /// The model's id.
    pub model: &'a str,
    /// The prices in force: nothing, where the provider was declared free.
    pub price: &'a ModelPrice,
    /// The version of the table it is from.
    pub version: &'a str,
    /// Where the table has it from; empty where the operator's file does not say.
    pub source: &'a str,
    /// When that was read; empty where the operator's file does not say.
    pub date: &'a str,
}

impl PriceBook {
    /// The tables this program carries.
    pub fn builtin() -> Self {
        static BOOK: LazyLock<PriceBook> = LazyLock::new(|| {
            let empty = PriceBook(Arc::default());
            BUILTIN.iter().fold(empty, |book, text| {
                book.with_overrides(text).unwrap_or_else(|error| {
                    unreachable!("a table that a test reads in every build is refused: {error}")
                })
            })
        });
        BOOK.clone()
    }

    /// This book with an operator's table laid over it; refused as a whole or taken as a whole.
    ///
    /// What a row of a known model does not say stays as it was. A new row needs `input` and
    /// `output`; what else it does not say is what its provider's `defaults` say, and after them
    /// the dearest that is common: cache reads at the input price, cache writes at 5/4 and 2 of it,
    /// no discounts, the largest surcharges, context and output of any table.
    pub fn with_overrides(&self, toml_text: &str) -> Result<Self, PriceError> {
        let written = file::read(toml_text)?;
        let mut tables = (*self.0).clone();
        let version: Arc<str> = written
            .version
            .as_deref()
            .unwrap_or(OPERATOR_VERSION)
            .into();
        let origin = Arc::new(Origin {
            source: written.source.unwrap_or_default(),
            date: written.date.unwrap_or_default(),
        });
        let dearest = self.0.dearest.as_ref().map(|it| Arc::clone(&it.price));
        for (name, provider) in written.providers {
            let table = tables.providers.entry(name).or_default();
            table.lay_over(provider, dearest.as_deref(), |label, price| Row {
                price: Arc::new(price),
                label: label.into(),
                version: Arc::clone(&version),
                origin: Arc::clone(&origin),
            })?;
        }
        Ok(tables.book())
    }

    /// This book where everything the provider (or platform) of that name sells is free.
    #[must_use]
    pub fn declare_free(&self, provider: &str) -> Self {
        let mut tables = (*self.0).clone();
        tables
            .providers
            .entry(provider.to_owned())
            .or_default()
            .free = true;
        tables.book()
    }

    /// What `model` costs at `provider`.
    ///
    /// By the exact id in the provider's table; then with the id normalised: lower case, without a
    /// vendor's path (`anthropic/…`, `us.anthropic.…`), variant (`:beta`, `[1m]`, `@…`, `-v1`),
    /// date (`-20260901`, `-2026-09-01`), `-latest`, and with dashes for dots. Then, the same way,
    /// in the table of the vendor that the id names, and in every other: a platform without prices
    /// of its own is taken to sell at list price until the operator's file says otherwise.
    ///
    /// A model that no row names is never free: it costs the dearest of its provider's table in
    /// each of the five prices (of all tables, where the provider has none), and the quote says so.
    pub fn look_up(&self, provider: &str, model: &str) -> Quote {
        let own = self.0.providers.get(provider);
        if let Some(gratis) = own.and_then(|it| it.gratis.as_ref()) {
            return gratis.quote(true);
        }
        if let Some(row) = own.and_then(|it| it.rows.get(model)) {
            return row.quote(true);
        }
        let id = ids::normalised(model);
        let names = || std::iter::once(model).chain(id.names.iter().map(String::as_str));
        if let Some(row) = own.and_then(|it| names().find_map(|name| it.rows.get(name))) {
            return row.quote(true);
        }
        let vendor = id.vendor.as_deref();
        let others = vendor
            .into_iter()
            .chain(self.0.providers.keys().map(String::as_str));
        for other in others {
            let table = self.0.providers.get(other);
            if let Some(row) = table.and_then(|it| names().find_map(|name| it.rows.get(name))) {
                let quote = row.quote(true);
                return Quote {
                    row: format!("{other}/{}", row.label).into(),
                    ..quote
                };
            }
        }
        let dearest = own.and_then(|it| it.dearest.as_ref());
        dearest.or(self.0.dearest.as_ref()).map_or_else(
            || unreachable!("a book has rows: it starts as the built-in one"),
            |row| row.quote(false),
        )
    }

    /// All rows, by provider and model.
    pub fn rows(&self) -> impl Iterator<Item = ListedPrice<'_>> {
        self.0.providers.iter().flat_map(|(provider, table)| {
            table.rows.iter().map(move |(model, row)| ListedPrice {
                provider,
                model,
                price: table.gratis.as_ref().map_or(&row.price, |it| &it.price),
                version: &row.version,
                source: &row.origin.source,
                date: &row.origin.date,
            })
        })
    }

    /// The providers that were declared free.
    pub fn free_providers(&self) -> impl Iterator<Item = &str> {
        let providers = self.0.providers.iter();
        providers.filter_map(|(name, table)| table.free.then_some(name.as_str()))
    }
}

impl Row {
    fn quote(&self, known: bool) -> Quote {
        Quote {
            price: Arc::clone(&self.price),
            known,
            row: Arc::clone(&self.label),
            version: Arc::clone(&self.version),
        }
    }
}

impl Tables {
    /// Works out anew what depends on all rows.
    fn book(mut self) -> PriceBook {
        for (name, table) in &mut self.providers {
            table.dearest = dearest(table.rows.values(), &format!("dearest of {name}"));
        }
        let rows = self.providers.values().flat_map(|it| it.rows.values());
        self.dearest = dearest(rows, "dearest of all");
        for table in self.providers.values_mut() {
            let base = table.dearest.as_ref().or(self.dearest.as_ref());
            table.gratis = base.filter(|_| table.free).map(|it| Row {
                price: Arc::new(it.price.free_of_charge()),
                label: FREE_ROW.into(),
                ..it.clone()
            });
        }
        PriceBook(Arc::new(self))
    }
}

/// A row that is as dear as the dearest in each price. Its version names those of all rows.
fn dearest<'a>(rows: impl Iterator<Item = &'a Row> + Clone, label: &str) -> Option<Row> {
    let mut versions: Vec<&str> = rows.clone().map(|it| &*it.version).collect();
    versions.sort_unstable();
    versions.dedup();
    let first = rows.clone().next()?;
    let price = rows.fold((*first.price).clone(), |price, it| price.dearer(&it.price));
    Some(Row {
        price: Arc::new(price),
        label: label.into(),
        version: versions.join(", ").into(),
        origin: Arc::clone(&first.origin),
    })
}

impl Provider {
    fn lay_over(
        &mut self,
        written: ProviderText,
        dearest: Option<&ModelPrice>,
        row: impl Fn(&str, ModelPrice) -> Row,
    ) -> Result<(), PriceError> {
        self.free = written.free.unwrap_or(self.free);
        self.defaults = written.defaults.or(self.defaults);
        for (name, model) in written.models {
            let price = match self.rows.get(&name) {
                Some(known) => changed(&known.price, &model)?,
                None => new(&model, self.defaults, dearest)?,
            };
            self.rows.insert(name.clone(), row(&name, price));
        }
        Ok(())
    }
}

/// A known row with what was written laid over it.
fn changed(known: &ModelPrice, written: &ModelText) -> Result<ModelPrice, PriceError> {
    let tiers = tiers(written)?.unwrap_or_else(|| known.tiers.clone());
    let rates = RatesText {
        input: written.rates.input.or(Some(known.rates.input)),
        cache_read: written.rates.cache_read.or(Some(known.rates.cache_read)),
        cache_write_5m: written
            .rates
            .cache_write_5m
            .or(Some(known.rates.cache_write_5m)),
        cache_write_1h: written
            .rates
            .cache_write_1h
            .or(Some(known.rates.cache_write_1h)),
        output: written.rates.output.or(Some(known.rates.output)),
    };
    let terms = written.terms;
    Ok(ModelPrice {
        rates: complete(rates, &written.place)?,
        tiers,
        multipliers: Multipliers {
            batch: terms.batch.unwrap_or(known.multipliers.batch),
            flex: terms.flex.unwrap_or(known.multipliers.flex),
            fast: terms.fast.unwrap_or(known.multipliers.fast),
            regional: terms.regional.unwrap_or(known.multipliers.regional),
        },
        web_search: terms.web_search.unwrap_or(known.web_search),
        automatic_cache_writes: terms
            .automatic_cache_writes
            .unwrap_or(known.automatic_cache_writes),
        context: terms.context.unwrap_or(known.context),
        output_max: terms.output_max.unwrap_or(known.output_max),
    })
}

/// A row for a model that had none.
fn new(
    written: &ModelText,
    defaults: TermsText,
    dearest: Option<&ModelPrice>,
) -> Result<ModelPrice, PriceError> {
    let terms = written.terms.or(defaults);
    let surcharge = |pick: fn(&Multipliers) -> Ratio| {
        dearest.map_or(Ratio::ONE, |it| pick(&it.multipliers).max(Ratio::ONE))
    };
    Ok(ModelPrice {
        rates: complete(written.rates, &written.place)?,
        tiers: tiers(written)?.unwrap_or_default(),
        multipliers: Multipliers {
            batch: terms.batch.unwrap_or(Ratio::ONE),
            flex: terms.flex.unwrap_or(Ratio::ONE),
            fast: terms.fast.unwrap_or_else(|| surcharge(|it| it.fast)),
            regional: terms
                .regional
                .unwrap_or_else(|| surcharge(|it| it.regional)),
        },
        web_search: terms
            .web_search
            .unwrap_or_else(|| dearest.map_or(PicoUsd(0), |it| it.web_search)),
        automatic_cache_writes: terms.automatic_cache_writes.unwrap_or(false),
        context: terms
            .context
            .unwrap_or_else(|| dearest.map_or(CONTEXT_UNKNOWN, |it| it.context)),
        output_max: terms
            .output_max
            .unwrap_or_else(|| dearest.map_or(OUTPUT_UNKNOWN, |it| it.output_max)),
    })
}

fn tiers(written: &ModelText) -> Result<Option<ArrayVec<Tier, TIERS_MAX>>, PriceError> {
    let Some(written) = &written.tiers else {
        return Ok(None);
    };
    let tiers = written.iter().map(|it| {
        let rates = complete(it.rates, &it.place)?;
        Ok(Tier {
            above: it.above,
            rates,
        })
    });
    tiers.collect::<Result<_, PriceError>>().map(Some)
}

fn complete(written: RatesText, place: &file::Place) -> Result<Rates, PriceError> {
    let remedy = "write dollars per million tokens";
    let input = written
        .input
        .ok_or_else(|| place.missing("input", remedy))?;
    let output = written
        .output
        .ok_or_else(|| place.missing("output", remedy))?;
    let five_quarters = PicoUsd(input.0.saturating_mul(5).div_ceil(4));
    let double = PicoUsd(input.0.saturating_mul(2));
    Ok(Rates {
        input,
        cache_read: written.cache_read.unwrap_or(input),
        cache_write_5m: written.cache_write_5m.unwrap_or(five_quarters),
        cache_write_1h: written.cache_write_1h.unwrap_or(double),
        output,
    })
}

#[cfg(test)]
mod tests;
