//! The migrations, embedded in the program. Both databases run the same ones.
//!
//! sqlx has a macro for this. It makes cargo compile both database drivers, SQLite among them, a second time for the
//! compiler, which costs minutes.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// A file of `migrations`: `NUMBER_NAME.sql`.
struct File {
    number: i64,
    name: &'static str,
    sql: &'static str,
}

/// `files![1 "0001" "name", …]`
macro_rules! files {
    ($($number:literal $digits:literal $name:literal),* $(,)?) => {
        &[$(File {
            number: $number,
            name: $name,
            sql: include_str!(concat!("../../migrations/", $digits, "_", $name, ".sql")),
        }),*]
    };
}

const FILES: &[File] = files![1 "0001" "accounts", 2 "0002" "claims"];

/// Every migration, oldest first.
pub(super) fn all() -> Migrator {
    let migration = |file: &File| {
        // Named as sqlx's macro names them, because stores that it has migrated remember the names.
        let description = file.name.replace('_', " ").into();
        Migration::new(file.number, description, MigrationType::Simple, file.sql.into_sql_str(), false)
    };
    Migrator::with_migrations(FILES.iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_migration_file_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let on_disk: BTreeMap<String, String> = fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry"))
            .map(|entry| {
                let sql = fs::read_to_string(entry.path()).expect("a text");
                (entry.file_name().into_string().expect("a name"), sql)
            })
            .collect();
        let embedded: BTreeMap<String, String> = FILES
            .iter()
            .map(|file| (format!("{:04}_{}.sql", file.number, file.name), file.sql.to_owned()))
            .collect();
        assert_eq!(embedded, on_disk);
    }

    #[test]
    fn a_store_that_sqlxs_macro_migrated_is_recognised() {
        // What `sqlx::migrate!` wrote to `_sqlx_migrations` of stores in use, of both kinds.
        const CHECKSUM: &str = "a2ca421851eea70327efd8dbaf9f3bc183ed8d783e353c35b808df10322fcbaae09b26aecd673f4a049ef1586179a01d";
        let migrator = all();
        let first = migrator.iter().next().expect("a migration");
        let hex: String = first.checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((first.version, &*first.description, &*hex), (1, "accounts", CHECKSUM));
    }
}
