//! Amounts of dollars: exact in both directions, never a float.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::RawValue;
use tidegate_types::NanoUsd;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Type,
        schema::{ObjectBuilder, OneOfBuilder, Schema},
    },
};

/// An amount of dollars in an answer, for people and for programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Money {
    /// Exact decimal text with two to nine decimals.
    #[schema(example = "0.25")]
    pub usd: String,
    /// The same in billionths of a dollar.
    #[schema(example = 250_000_000)]
    pub nano_usd: u64,
}

impl From<NanoUsd> for Money {
    fn from(amount: NanoUsd) -> Self {
        Self {
            usd: plain(amount),
            nano_usd: amount.0,
        }
    }
}

impl From<&Money> for NanoUsd {
    fn from(money: &Money) -> Self {
        Self(money.nano_usd)
    }
}

/// An amount of dollars in a request: a decimal text or a JSON number, read digit by digit, so
/// that `0.1` is a tenth. No sign, no exponent, at most nine decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usd(pub NanoUsd);

/// `0.25`: as the field prints money, without the dollar sign.
pub(crate) fn plain(amount: NanoUsd) -> String {
    amount.to_string().trim_start_matches('$').to_owned()
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&plain(self.0))
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text of a number: as a float it would already be another amount.
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = match raw.get().strip_prefix('"') {
            Some(_) => serde_json::from_str::<String>(raw.get()).map_err(D::Error::custom)?,
            None => raw.get().to_owned(),
        };
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

impl PartialSchema for Usd {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r"^\$?[0-9]+(\.[0-9]{1,9})?$"));
        let number = ObjectBuilder::new()
            .schema_type(Type::Number)
            .minimum(Some(0));
        let either = OneOfBuilder::new()
            .description(Some(
                "Dollars, read exactly: at most nine decimals, no sign, no exponent.",
            ))
            .item(text)
            .item(number);
        RefOr::T(Schema::OneOf(either.build()))
    }
}

impl ToSchema for Usd {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Usd")
    }
}

/// What becomes of an amount that may also be none: left out it stays, null takes it away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Amount {
    /// As it is.
    #[default]
    Kept,
    /// None any more.
    Removed,
    /// This.
    Set(Usd),
}

impl Amount {
    /// Whether nothing was said.
    pub const fn is_kept(&self) -> bool {
        matches!(self, Self::Kept)
    }
}

/// A kept amount is left out by whoever serializes the request, and would be null otherwise.
impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Set(amount) => amount.serialize(serializer),
            Self::Kept | Self::Removed => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amount = Option::deserialize(deserializer)?;
        Ok(amount.map_or(Self::Removed, Self::Set))
    }
}

#[cfg(test)]
mod tests;
