//! Azure's LLM inference traces: `TIMESTAMP, ContextTokens, GeneratedTokens`, a row for each call.

use std::time::Duration;

use super::{
    Format, Loaded, Reading, TraceError,
    fields::Table,
    source::Source,
    traffic::{Arrivals, MODEL, Taken, within_memory},
};

/// What a row is told whose time is before that of the row above.
pub(super) const SORTED: &str = "it is before the row above: sort the file by time";

pub(super) fn load(source: Source, reading: &Reading) -> Result<Loaded, TraceError> {
    let path = source.path;
    let columns = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];
    let mut table = Table::open(&path, source.reader, &columns, &[])?;
    let mut arrivals = Arrivals::new(reading);
    let mut passed_over = 0;
    while let Some(row) = table.next()? {
        let at = Duration::from_nanos(row.moment("TIMESTAMP")?.0);
        let tokens = (row.tokens("ContextTokens")?, row.tokens("GeneratedTokens")?);
        match arrivals.take(at, MODEL, tokens) {
            Taken::At(_) => within_memory(&path, arrivals.len())?,
            Taken::Other => passed_over += 1,
            Taken::Late => break,
            Taken::Early => {
                let text = row.text("TIMESTAMP");
                return Err(row.place.wrong("TIMESTAMP", text, SORTED));
            }
        }
    }
    Ok(arrivals.loaded(Format::Azure, passed_over))
}
