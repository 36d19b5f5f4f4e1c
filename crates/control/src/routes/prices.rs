//! The price table in force.

use std::sync::Arc;

use axum::{Json, extract::State};
use tidegate_providers::prices::{ListedPrice, PriceBook, Rates};
use tidegate_types::NanoUsd;

use crate::{
    Control,
    error::Error,
    read::Asked,
    wire::{Factors, Price, PriceQuery, PriceTier, Prices, TokenPrices, money_text},
};

/// What models cost.
#[utoipa::path(get, path = "/api/v1/prices", tag = "operation", params(PriceQuery),
    responses((status = 200, body = Prices)))]
pub(crate) async fn prices(
    State(control): State<Arc<Control>>,
    Asked(query): Asked<PriceQuery>,
) -> Result<Json<Prices>, Error> {
    let book = control.engine.prices();
    let mut prices = Prices::from(&*book);
    prices.prices.retain(|it| {
        query
            .provider
            .as_ref()
            .is_none_or(|name| *name == it.provider)
            && query
                .model
                .as_ref()
                .is_none_or(|part| it.model.contains(part.as_str()))
    });
    Ok(Json(prices))
}

impl From<&PriceBook> for Prices {
    fn from(book: &PriceBook) -> Self {
        Self {
            prices: book.rows().map(|it| shown(&it)).collect(),
            free_providers: book.free_providers().map(str::to_owned).collect(),
        }
    }
}

fn shown(row: &ListedPrice<'_>) -> Price {
    let price = row.price;
    let tiers = price.tiers.iter().map(|it| PriceTier {
        above: it.above.0,
        per_million: per_million(&it.rates),
    });
    let factors = &price.multipliers;
    Price {
        provider: row.provider.to_owned(),
        model: row.model.to_owned(),
        per_million: per_million(&price.rates),
        tiers: tiers.collect(),
        factors: Factors {
            batch: factors.batch.to_string(),
            flex: factors.flex.to_string(),
            fast: factors.fast.to_string(),
            regional: factors.regional.to_string(),
        },
        // 10⁻¹² $ each are 10⁻⁹ $ a thousand.
        web_searches_per_thousand: money_text(NanoUsd(price.web_search.0)),
        context: price.context.0,
        output_max: price.output_max.0,
        version: row.version.to_owned(),
        source: row.source.to_owned(),
        date: row.date.to_owned(),
    }
}

fn per_million(rates: &Rates) -> TokenPrices {
    TokenPrices {
        input: rates.input.to_string(),
        cache_read: rates.cache_read.to_string(),
        cache_write_5m: rates.cache_write_5m.to_string(),
        cache_write_1h: rates.cache_write_1h.to_string(),
        output: rates.output.to_string(),
    }
}
