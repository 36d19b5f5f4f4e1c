//! BurstGPT: `Timestamp, Model, Request tokens, Response tokens`, a row for each call.

use super::{
    Format, Loaded, Reading, TraceError,
    azure::SORTED,
    fields::Table,
    source::Source,
    traffic::{Arrivals, Taken, within_memory},
};

pub(super) fn load(source: Source, reading: &Reading) -> Result<Loaded, TraceError> {
    let path = source.path;
    let columns = ["Timestamp", "Model", "Request tokens", "Response tokens"];
    let mut table = Table::open(&path, source.reader, &columns, &[])?;
    let mut arrivals = Arrivals::new(reading);
    let mut passed_over = 0;
    while let Some(row) = table.next()? {
        let at = row.seconds("Timestamp")?;
        let tokens = (
            row.tokens("Request tokens")?,
            row.tokens("Response tokens")?,
        );
        // One without a response failed.
        if tokens.1.0 == 0 {
            passed_over += 1;
            continue;
        }
        match arrivals.take(at, row.text("Model"), tokens) {
            Taken::At(_) => within_memory(&path, arrivals.len())?,
            Taken::Other => passed_over += 1,
            Taken::Late => break,
            Taken::Early => {
                let text = row.text("Timestamp");
                return Err(row.place.wrong("Timestamp", text, SORTED));
            }
        }
    }
    Ok(arrivals.loaded(Format::BurstGpt, passed_over))
}
