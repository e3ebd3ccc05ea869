//! Rows of a table as structs.

/// Reads a struct from a row of either database: each field from the column of its name, and the fields after `and`,
/// which are structs themselves, from the same row.
///
/// sqlx's derive would do this, and would have cargo compile both database drivers a second time for the compiler.
macro_rules! from_row {
    ($struct:ident { $($column:ident),* $(,)? } $(and { $($part:ident),* })?) => {
        $crate::store::row::from_row!(@of sqlx::sqlite::SqliteRow, $struct, [$($column)*], [$($($part)*)?]);
        $crate::store::row::from_row!(@of sqlx::postgres::PgRow, $struct, [$($column)*], [$($($part)*)?]);
    };
    (@of $row:ty, $struct:ident, [$($column:ident)*], [$($part:ident)*]) => {
        impl sqlx::FromRow<'_, $row> for $struct {
            fn from_row(row: &$row) -> Result<Self, sqlx::Error> {
                use sqlx::Row as _;
                Ok(Self {
                    $($column: row.try_get(stringify!($column))?,)*
                    $($part: sqlx::FromRow::from_row(row)?,)*
                })
            }
        }
    };
}
pub(super) use from_row;
