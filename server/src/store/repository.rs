//! The two kinds of signed repository: metadata and target files.
//!
//! A repository is named as `catalog` or `approvals/<hdo>`. Every file is kept as the bytes that were signed, and for ever:
//! a device from a shelf steps through all roots.

use jiff::Timestamp;
use suture_core::approval::Part;
use suture_core::digest::Digest;
use suture_core::id::DeviceId;
use suture_core::trust::{Role, delegated_name};

use super::{Store, StoreError, Tx, digest, on, to_i64, to_ms, to_u64};

/// A metadata file as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoFile {
    /// Its version.
    pub version: u64,
    /// The bytes that were signed.
    pub content: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct FileRow {
    version: i64,
    content: Vec<u8>,
    sha256: Vec<u8>,
}

impl FileRow {
    fn read(self, repository: &str, name: &str) -> Result<RepoFile, StoreError> {
        if digest("repo_file", "sha256", &self.sha256)? != Digest::of(&self.content) {
            return Err(StoreError::Altered { repository: repository.to_owned(), name: name.to_owned() });
        }
        Ok(RepoFile { version: to_u64("repo_file", "version", self.version)?, content: self.content })
    }
}

/// Who may read a target file, beside operators, who read every file of the repositories that are theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Nobody besides.
    Operators,
    /// Every device.
    Devices,
    /// The devices of a part.
    Part(Part),
}

impl Readers {
    /// Whether a device is one of them.
    pub fn admit(self, device: &DeviceId) -> bool {
        match self {
            Self::Operators => false,
            Self::Devices => true,
            Self::Part(part) => part.holds(device),
        }
    }

    fn to_text(self) -> String {
        match self {
            Self::Operators => "operators".to_owned(),
            Self::Devices => "devices".to_owned(),
            Self::Part(part) => format!("part/{part}"),
        }
    }

    fn from_text(text: &str) -> Result<Self, StoreError> {
        let senseless = || StoreError::Row { table: "target_file", column: "readers", problem: text.to_owned() };
        match text {
            "operators" => Ok(Self::Operators),
            "devices" => Ok(Self::Devices),
            _ => text.strip_prefix("part/").and_then(|p| p.parse().ok()).map(Self::Part).ok_or_else(senseless),
        }
    }
}

impl Store {
    /// A metadata file by the exact name that clients ask for.
    pub async fn repo_file(&self, repository: &str, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let row = on!(self, |c| sqlx::query_as::<_, FileRow>(
            "SELECT version, content, sha256 FROM repo_file WHERE repository = $1 AND name = $2"
        )
        .bind(repository)
        .bind(name)
        .fetch_optional(c)
        .await)?;
        Ok(row.map(|row| row.read(repository, name)).transpose()?.map(|file| file.content))
    }

    /// A target file by its consistent-snapshot name, and who may read it.
    pub async fn target_file(&self, repository: &str, name: &str) -> Result<Option<(Vec<u8>, Readers)>, StoreError> {
        let row: Option<(Vec<u8>, String)> = on!(self, |c| sqlx::query_as(
            "SELECT content, readers FROM target_file WHERE repository = $1 AND name = $2"
        )
        .bind(repository)
        .bind(name)
        .fetch_optional(c)
        .await)?;
        row.map(|(content, readers)| Ok((content, Readers::from_text(&readers)?))).transpose()
    }
}

impl Tx {
    /// A metadata file by the exact name that clients ask for.
    pub async fn repo_file(&mut self, repository: &str, name: &str) -> Result<Option<RepoFile>, StoreError> {
        let row = on!(self, |c| sqlx::query_as::<_, FileRow>(
            "SELECT version, content, sha256 FROM repo_file WHERE repository = $1 AND name = $2"
        )
        .bind(repository)
        .bind(name)
        .fetch_optional(c)
        .await)?;
        row.map(|row| row.read(repository, name)).transpose()
    }

    /// SHA-256 and length of a metadata file, for those who may hold it already.
    pub async fn repo_file_head(&mut self, repository: &str, name: &str) -> Result<Option<(Digest, u64)>, StoreError> {
        let row: Option<(Vec<u8>, i64)> = on!(self, |c| sqlx::query_as(
            "SELECT sha256, CAST(LENGTH(content) AS BIGINT) FROM repo_file WHERE repository = $1 AND name = $2"
        )
        .bind(repository)
        .bind(name)
        .fetch_optional(c)
        .await)?;
        row.map(|(sha256, length)| {
            Ok((digest("repo_file", "sha256", &sha256)?, to_u64("repo_file", "content", length)?))
        })
        .transpose()
    }

    /// The newest file of a role.
    pub async fn newest_repo_file(&mut self, repository: &str, role: Role) -> Result<Option<RepoFile>, StoreError> {
        // `timestamp.json` has no version in its name. A delegated role may be named as in `3.a.targets.json`, so the whole
        // name is compared.
        let row = on!(self, |c| sqlx::query_as::<_, FileRow>(
            "SELECT version, content, sha256 FROM repo_file
            WHERE repository = $1 AND (name = $2 OR name = CAST(version AS TEXT) || '.' || $2)
            ORDER BY version DESC LIMIT 1"
        )
        .bind(repository)
        .bind(role.file_name())
        .fetch_optional(c)
        .await)?;
        row.map(|row| row.read(repository, role.file_name())).transpose()
    }

    /// Stores a version of a role's file. A version that is there is a conflict, but a timestamp replaces the one before it.
    pub async fn put_repo_file(
        &mut self,
        repository: &str,
        role: Role,
        version: u64,
        content: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if role == Role::Timestamp {
            on!(self, |c| sqlx::query("DELETE FROM repo_file WHERE repository = $1 AND name = $2")
                .bind(repository)
                .bind(role.file_name())
                .execute(c)
                .await
                .map(drop))?;
        }
        self.insert_repo_file(repository, &role.served_name(version), version, content, now).await
    }

    /// Stores a version of a delegated role's file. A version that is there is a conflict.
    pub async fn put_delegated_file(
        &mut self,
        repository: &str,
        role: &str,
        version: u64,
        content: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.insert_repo_file(repository, &delegated_name(role, version), version, content, now).await
    }

    async fn insert_repo_file(
        &mut self,
        repository: &str,
        name: &str,
        version: u64,
        content: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let number = to_i64("version of metadata", version)?;
        on!(self, |c| sqlx::query(
            "INSERT INTO repo_file (repository, name, version, content, sha256, stored_ms)
            VALUES ($1, $2, $3, $4, $5, $6)"
        )
        .bind(repository)
        .bind(name)
        .bind(number)
        .bind(content)
        .bind(Digest::of(content).as_bytes().as_slice())
        .bind(to_ms(now))
        .execute(c)
        .await
        .map(drop))
    }

    /// Every repository that has been published, by name.
    pub async fn repositories(&mut self) -> Result<Vec<String>, StoreError> {
        on!(self, |c| sqlx::query_scalar("SELECT repository FROM repo_file WHERE name = $1 ORDER BY repository")
            .bind(Role::Timestamp.file_name())
            .fetch_all(c)
            .await)
    }

    /// A target file by its consistent-snapshot name.
    pub async fn target_file(&mut self, repository: &str, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        on!(self, |c| sqlx::query_scalar("SELECT content FROM target_file WHERE repository = $1 AND name = $2")
            .bind(repository)
            .bind(name)
            .fetch_optional(c)
            .await)
    }

    /// Whether a target file is there.
    pub async fn has_target_file(&mut self, repository: &str, name: &str) -> Result<bool, StoreError> {
        let one: Option<String> =
            on!(self, |c| sqlx::query_scalar("SELECT name FROM target_file WHERE repository = $1 AND name = $2")
                .bind(repository)
                .bind(name)
                .fetch_optional(c)
                .await)?;
        Ok(one.is_some())
    }

    /// Stores a target file; its name holds its path and digest, so what is there is the same and has the same readers.
    pub async fn put_target_file(
        &mut self,
        repository: &str,
        name: &str,
        content: &[u8],
        readers: Readers,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on!(self, |c| sqlx::query(
            "INSERT INTO target_file (repository, name, content, readers, stored_ms) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (repository, name) DO NOTHING"
        )
        .bind(repository)
        .bind(name)
        .bind(content)
        .bind(readers.to_text())
        .bind(to_ms(now))
        .execute(c)
        .await
        .map(drop))
    }

    /// Counts bytes that are published into a repository on a day, which is a number of days; how many there are with them.
    pub(crate) async fn count_published(&mut self, repository: &str, day: i64, bytes: u64) -> Result<u64, StoreError> {
        let bytes = to_i64("bytes of a publication", bytes)?;
        let all: i64 = on!(self, |c| {
            sqlx::query_scalar(
            "INSERT INTO publication_growth (repository, day, bytes) VALUES ($1, $2, $3) ON CONFLICT (repository) DO UPDATE \
             SET bytes = CASE WHEN publication_growth.day = excluded.day THEN publication_growth.bytes + excluded.bytes \
             ELSE excluded.bytes END, day = excluded.day RETURNING bytes"
        )
        .bind(repository)
        .bind(day)
        .bind(bytes)
        .fetch_one(c)
        .await
        })?;
        to_u64("publication_growth", "bytes", all)
    }

    /// Removes a role's files of versions above `highest`; says how many there were.
    pub async fn remove_repo_files_above(
        &mut self,
        repository: &str,
        role: Role,
        highest: u64,
    ) -> Result<u64, StoreError> {
        let highest = to_i64("version of metadata", highest)?;
        on!(self, |c| sqlx::query(
            "DELETE FROM repo_file
            WHERE repository = $1 AND (name = $2 OR name = CAST(version AS TEXT) || '.' || $2) AND version > $3"
        )
        .bind(repository)
        .bind(role.file_name())
        .bind(highest)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
    }
}
