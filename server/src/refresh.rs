//! What a caller lacks of a repository, found with a few reads by exact name: the timestamp in force names the snapshot, the
//! snapshot names the targets. It costs the same in any fleet and however many versions there have been.
//!
//! It is a courtesy and no authority: the caller verifies every file, and asks for what is missing.

use suture_core::digest::Digest;
use suture_core::json::{self, JsonError};
use suture_core::limits::{MAX_MESSAGE_BYTES, MAX_ROOT_STEPS};
use suture_core::trust::{Held, Metadata, Role, Snapshot, Timestamp, TrustError};

use crate::store::repository::RepoFile;
use crate::store::{StoreError, Tx};

/// The most bytes of files in one answer: 12 MiB, so that what else an answer holds has room below the limit of a message.
/// The longest targets file fits; what does not is asked for singly.
pub(crate) const MAX_NEWS_BYTES: usize = MAX_MESSAGE_BYTES - (4 << 20);

/// What differs of one repository.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// By the names under which they are served: roots in ascending order, then timestamp, snapshot, targets.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// Version of the newest root, unless not all roots are here.
    pub(crate) newest_root: Option<u64>,
    /// Whether the caller's timestamp is the one in force.
    pub(crate) timestamp_stands: bool,
}

/// Why it cannot be said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NewsError {
    /// The database failed.
    #[error("the repository's rows failed")]
    Store(#[from] StoreError),
    /// What this server signed itself cannot be read.
    #[error("the repository's {role} cannot be read")]
    Json {
        /// Whose file.
        role: Role,
        /// Why.
        source: JsonError,
    },
    /// What this server signed itself breaks a rule.
    #[error("the repository's own metadata make no sense")]
    Trust(#[from] TrustError),
}

/// What a caller that holds `held` lacks, of at most `room` bytes, which are taken off it. `tx` reads one unchanging view,
/// so that the files belong together.
pub(crate) async fn news(tx: &mut Tx, repository: &str, held: &Held, room: &mut usize) -> Result<News, NewsError> {
    let mut news = News::default();
    roots(tx, repository, held.root, &mut news, room).await?;
    let Some(timestamp) = tx.repo_file(repository, Role::Timestamp.file_name()).await? else { return Ok(news) };
    let snapshot = read::<Timestamp>(&timestamp)?.snapshot().version();
    news.timestamp_stands = held.timestamp == Some(Digest::of(&timestamp.content));
    if !news.timestamp_stands {
        news.put(Role::Timestamp.file_name().to_owned(), timestamp, room);
    }
    let name = Role::Snapshot.served_name(snapshot);
    let Some(snapshot) = tx.repo_file(repository, &name).await? else { return Ok(news) };
    let targets = Role::Targets.served_name(read::<Snapshot>(&snapshot)?.targets().version());
    if held.snapshot != Some(Digest::of(&snapshot.content)) {
        news.put(name, snapshot, room);
    }
    if tx.repo_file_head(repository, &targets).await?.is_some_and(|head| wanted(&head, held.targets.as_ref(), *room))
        && let Some(file) = tx.repo_file(repository, &targets).await?
    {
        news.put(targets, file, room);
    }
    Ok(news)
}

/// The roots after the caller's, as many as a client steps through at once.
async fn roots(tx: &mut Tx, repository: &str, held: u64, news: &mut News, room: &mut usize) -> Result<(), NewsError> {
    let mut newest = held;
    for _ in 0..MAX_ROOT_STEPS {
        let Some(next) = newest.checked_add(1) else { return Ok(()) };
        let name = Role::Root.served_name(next);
        match tx.repo_file_head(repository, &name).await? {
            Some(head) if wanted(&head, None, *room) => {
                let Some(file) = tx.repo_file(repository, &name).await? else { return Ok(()) };
                news.put(name, file, room);
                newest = next;
            }
            Some(_) => return Ok(()),
            // Where there is none at all, the caller must hear it from the call that says NOT_FOUND.
            None => {
                news.newest_root = (newest > 0).then_some(newest);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Whether a file is worth reading for a caller that holds another, or none.
fn wanted((sha256, length): &(Digest, u64), held: Option<&Digest>, room: usize) -> bool {
    held != Some(sha256) && usize::try_from(*length).is_ok_and(|length| length <= room)
}

impl News {
    fn put(&mut self, name: String, file: RepoFile, room: &mut usize) {
        if let Some(left) = room.checked_sub(file.content.len()) {
            *room = left;
            self.files.push((name, file.content));
        }
    }
}

fn read<T: Metadata>(file: &RepoFile) -> Result<T, NewsError> {
    let json = |source| NewsError::Json { role: T::ROLE, source };
    let value = json::parse(&file.content).map_err(json)?;
    let nothing = TrustError::Rule { role: T::ROLE, rule: "nothing is signed in it" };
    Ok(T::read(value.get("signed").ok_or(nothing)?)?)
}
