//! Reading typed values out of a row.

use std::error::Error;
use std::str::FromStr;

use rusqlite::Row;
use rusqlite::types::Type;

use crate::names::Generation;

/// Reads a column whose text has a parser.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

/// Reads a generation's number.
pub(super) fn generation(row: &Row<'_>, column: usize) -> rusqlite::Result<Generation> {
    row.get(column).map(|number: i64| Generation(number.cast_unsigned()))
}

/// Gives a generation's number the type that `SQLite` has.
pub(super) fn number(generation: Generation) -> i64 {
    generation.0.cast_signed()
}

/// Gives a count the type that `SQLite` has.
pub(super) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
