//! Both folders of migrations make the same tables.

use std::collections::BTreeMap;

use sqlx::{Connection as _, PgConnection};

use super::super::{Driver, Store, StoreError};
use super::PostgresDatabase;

/// Table and column, to type, whether null is refused, and the place in the primary key (0: not in it).
type Columns = BTreeMap<(String, String), (String, bool, i64)>;

async fn sqlite_columns(store: &Store) -> Columns {
    let Driver::Sqlite(pool) = store.driver() else { panic!("not SQLite") };
    let rows: Vec<(String, String, String, bool, i64)> = sqlx::query_as(
        "SELECT t.name, c.name, c.type, c.\"notnull\", c.pk FROM sqlite_schema t, pragma_table_info(t.name) c
        WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name <> '_sqlx_migrations'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let same = |kind: String| if kind == "BLOB" { "BYTEA".to_owned() } else { kind };
    rows.into_iter().map(|(t, c, kind, not_null, pk)| ((t, c), (same(kind), not_null, pk))).collect()
}

async fn postgres_columns(store: &Store) -> Columns {
    let Driver::Postgres(pool) = store.driver() else { panic!("not PostgreSQL") };
    let rows: Vec<(String, String, String, bool, i64)> = sqlx::query_as(
        "SELECT c.table_name::text, c.column_name::text, UPPER(c.data_type::text), c.is_nullable = 'NO',
            COALESCE((SELECT k.ordinal_position::bigint FROM information_schema.key_column_usage k
                JOIN information_schema.table_constraints x ON x.constraint_name = k.constraint_name
                    AND x.table_schema = k.table_schema
                WHERE x.constraint_type = 'PRIMARY KEY' AND k.table_name = c.table_name
                    AND k.column_name = c.column_name AND k.table_schema = c.table_schema), 0)
        FROM information_schema.columns c WHERE c.table_schema = 'public' AND c.table_name <> '_sqlx_migrations'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    rows.into_iter().map(|(t, c, kind, not_null, pk)| ((t, c), (kind, not_null, pk))).collect()
}

async fn index_names(store: &Store) -> Vec<String> {
    let mut names: Vec<String> = match store.driver() {
        Driver::Sqlite(pool) => {
            sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
                .fetch_all(pool)
                .await
                .unwrap()
        }
        Driver::Postgres(pool) => sqlx::query_scalar(
            "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%_pkey'",
        )
        .fetch_all(pool)
        .await
        .unwrap(),
    };
    names.sort();
    names
}

#[test]
fn both_folders_hold_the_same_numbers_and_names() {
    let names = |folder: &str| {
        let mut names: Vec<_> = std::fs::read_dir(format!("{}/../migrations/{folder}", env!("CARGO_MANIFEST_DIR")))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert!(!names("sqlite").is_empty());
    assert_eq!(names("sqlite"), names("postgres"));
}

#[tokio::test]
async fn both_folders_make_the_same_tables() {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = Store::open(&format!("sqlite:{}", dir.path().join("suture.db").display())).await.unwrap();
    let here = sqlite_columns(&sqlite).await;
    assert!(here.len() > 100, "{}", here.len());
    for ((table, column), (kind, ..)) in &here {
        let portable = ["TEXT", "BIGINT", "BYTEA", "BOOLEAN", "DOUBLE PRECISION"];
        assert!(portable.contains(&kind.as_str()), "{table}.{column} is {kind}");
    }
    let Some(database) = PostgresDatabase::create().await else { return };
    let postgres = Store::open(&database.url()).await.unwrap();
    assert_eq!(here, postgres_columns(&postgres).await);
    assert_eq!(index_names(&sqlite).await, index_names(&postgres).await);
    postgres.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_new_file_is_its_owners_only_and_opens_again() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("suture.db").display());
    for _ in 0..2 {
        let store = Store::open(&url).await.unwrap();
        store.ping().await.unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", entry.file_name());
        }
        store.close().await;
    }
}

#[tokio::test]
async fn an_address_of_neither_form_is_refused_without_showing_it() {
    let error = Store::open("mysql://root:hunter2@db/x").await.err().unwrap();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

/// Ids are sorted by their bytes everywhere: programs ask on behind the last of a page.
#[tokio::test]
async fn a_database_that_sorts_by_a_language_is_refused_before_anything_is_made() {
    let english = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'";
    let Some(database) = PostgresDatabase::that_sorts(english).await else { return };
    let refused = Store::open(&database.url()).await.err().unwrap();
    assert!(matches!(refused, StoreError::Collation), "{refused:?}");
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'public'";
    assert_eq!(sqlx::query_scalar::<_, i64>(tables).fetch_one(&mut connection).await.unwrap(), 0);
    connection.close().await.unwrap();
    database.drop().await;
}
