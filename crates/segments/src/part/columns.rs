//! Our columns as those of a Parquet file.

use std::sync::Arc;

use parquet::{
    basic::{
        Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel,
    },
    errors::Result,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties, WriterVersion},
    },
    schema::types::{ColumnPath, Type},
};
use tidegate_observe::telemetry::{AT, Column, ColumnType, ID, PAGE_ROWS, Schema, Search};

use crate::limits::{GROUP_ROWS, IDS_BYTES, PART_LEVEL, TEXT_LEVEL};

/// The file's schema: times are timestamps in UTC with nanoseconds, ids of traces and spans are
/// their bytes, texts are UTF-8; what is absent is null.
pub(super) fn file_schema(schema: &Schema) -> Result<Arc<Type>> {
    let fields: Result<Vec<_>> = schema
        .columns
        .iter()
        .enumerate()
        .map(|(place, column)| Ok(Arc::new(field(place, column)?)))
        .collect();
    let whole = Type::group_type_builder(schema.kind.word()).with_fields(fields?);
    Ok(Arc::new(whole.build()?))
}

/// Whether a column has a value in every row.
pub(super) fn is_required(place: usize) -> bool {
    place == AT || place == ID
}

/// Whether a column is written in pages of [`PAGE_ROWS`], that can be read one by one: what words
/// are looked for in, and what is needed of each row that has them.
pub(super) fn is_paged(place: usize, column: &Column) -> bool {
    is_required(place) || column.holds == ColumnType::Text
}

fn field(place: usize, column: &Column) -> Result<Type> {
    let (physical, logical, length) = match column.holds {
        ColumnType::Time => {
            let utc = LogicalType::timestamp(true, TimeUnit::NANOS);
            (Physical::INT64, Some(utc), 0)
        }
        ColumnType::Integer => (Physical::INT64, None, 0),
        ColumnType::Flag => (Physical::BOOLEAN, None, 0),
        ColumnType::SpanId => (Physical::FIXED_LEN_BYTE_ARRAY, None, 8),
        ColumnType::TraceId => (Physical::FIXED_LEN_BYTE_ARRAY, None, 16),
        ColumnType::Word | ColumnType::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String), 0),
    };
    let repetition = if is_required(place) {
        Repetition::REQUIRED
    } else {
        Repetition::OPTIONAL
    };
    Type::primitive_type_builder(column.name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical)
        .with_length(length)
        .build()
}

/// How values are written: a column of few different values as places in a list of them, numbers
/// as differences, ids as places while they come again, other texts as they are.
pub(super) fn properties(schema: &Schema) -> Result<WriterProperties> {
    let version = KeyValue::new("tidegate.kind".to_owned(), schema.kind.word().to_owned());
    let texts = Compression::ZSTD(ZstdLevel::try_new(TEXT_LEVEL)?);
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_created_by(concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(vec![version]))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(PART_LEVEL)?))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        // Columns that are not paged are written at once, so that no page of theirs ends before.
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_data_page_size_limit(64 << 20)
        .set_dictionary_page_size_limit(4 << 20)
        .set_write_batch_size(GROUP_ROWS)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true);
    for column in schema.columns {
        let path = ColumnPath::from(column.name);
        properties = match column.holds {
            ColumnType::Time | ColumnType::Integer => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            ColumnType::Text => properties
                .set_column_dictionary_enabled(path.clone(), column.search == Search::Exact)
                .set_column_dictionary_page_size_limit(path.clone(), IDS_BYTES)
                .set_column_compression(path.clone(), texts)
                .set_column_encoding(path, Encoding::DELTA_LENGTH_BYTE_ARRAY),
            ColumnType::SpanId => properties.set_column_dictionary_enabled(path, false),
            ColumnType::Flag | ColumnType::TraceId | ColumnType::Word => properties,
        };
    }
    // Other programs skip row groups by their times.
    let at = ColumnPath::from(schema.columns[AT].name);
    Ok(properties
        .set_column_statistics_enabled(at, EnabledStatistics::Chunk)
        .build())
}
