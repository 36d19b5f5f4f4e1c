//! How values stand in columns.

use rusqlite::{Row as Columns, types::Type};
use serde::{Serialize, de::DeserializeOwned};
use tidegate_ledger::{Balance, ChainHash, LevelKey, LevelKind, Row};
use tidegate_types::NanoUsd;

/// Columns of a [`Row`], for [`row`].
pub(super) const ROW: &str = "seq, chain, payload";

/// Columns of a level and its balance, for [`balance`].
pub(super) const BALANCE: &str =
    "kind, organisation, user, task, opens, spent, held, notional, would_refuse";

pub(super) fn row(columns: &Columns<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        seq: unsigned(columns, 0)?,
        chain: ChainHash(columns.get(1)?),
        payload: columns.get(2)?,
    })
}

/// The five columns that name a level; what a level does not have is empty.
pub(super) fn level(key: &LevelKey) -> [String; 5] {
    [
        key.kind.word().to_owned(),
        key.organisation.to_string(),
        key.user.as_deref().unwrap_or_default().to_owned(),
        key.task.as_deref().unwrap_or_default().to_owned(),
        key.opens.map(|it| it.to_string()).unwrap_or_default(),
    ]
}

pub(super) fn balance(columns: &Columns<'_>) -> rusqlite::Result<(LevelKey, Balance)> {
    let text = |at| columns.get::<_, String>(at);
    let kind: LevelKind = parsed(0, &text(0)?)?;
    // Which columns count follows from the level: a user may well be named by an empty text.
    let personal = matches!(
        kind,
        LevelKind::UserMonth | LevelKind::UserDay | LevelKind::Task
    );
    let key = LevelKey {
        kind,
        organisation: text(1)?.into(),
        user: personal.then_some(text(2)?).map(Into::into),
        task: (kind == LevelKind::Task)
            .then_some(text(3)?)
            .map(Into::into),
        opens: match kind.period() {
            Some(_) => Some(parsed(4, &text(4)?)?),
            None => None,
        },
    };
    let balance = Balance {
        spent: NanoUsd(unsigned(columns, 5)?),
        held: NanoUsd(unsigned(columns, 6)?),
        notional: NanoUsd(unsigned(columns, 7)?),
        would_refuse: unsigned(columns, 8)?,
    };
    Ok((key, balance))
}

pub(super) fn unsigned(columns: &Columns<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(columns.get::<_, i64>(at)?.cast_unsigned())
}

pub(super) fn json<T: DeserializeOwned>(columns: &Columns<'_>, at: usize) -> rusqlite::Result<T> {
    let text: String = columns.get(at)?;
    serde_json::from_str(&text).map_err(|it| unreadable(at, Type::Text, it))
}

pub(super) fn to_json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|it| rusqlite::Error::ToSqlConversionFailure(it.into()))
}

fn parsed<T: std::str::FromStr>(at: usize, text: &str) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|it| unreadable(at, Type::Text, it))
}

pub(super) fn unreadable(
    at: usize,
    kind: Type,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, kind, Box::new(error))
}
