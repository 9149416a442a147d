//! The client over any line: the loops that run a [`Refresh`] and a [`Search`] against a caller's [`Transport`].
//!
//! They are all that a caller needs who can wait for each answer; whoever cannot writes the same few lines with `.await`.

use jiff::Timestamp as Instant;

use super::{Answer, Change, Refresh, Repository, Request, Search, TrustError};

/// Where a repository's files come from: a server, a directory, a stick, a test. It is trusted with nothing. It reads no
/// more than [`Request::max_bytes`] and a byte, and answers [`Answer::NotFound`] only if it knows that there is no such
/// file; everything else that goes wrong is an error.
pub trait Transport {
    /// What can go wrong.
    type Error: From<TrustError>;

    /// A metadata file.
    fn metadata(&mut self, request: &Request) -> Result<Answer, Self::Error>;

    /// A target file.
    fn target(&mut self, request: &Request) -> Result<Answer, Self::Error>;
}

/// Runs a refresh to its end; each change is in the caller's store before the next question is asked.
pub fn refresh_with<T: Transport>(
    mut refresh: Refresh,
    transport: &mut T,
    mut store: impl FnMut(&Change) -> Result<(), T::Error>,
) -> Result<Refresh, T::Error> {
    while let Some(request) = refresh.request() {
        let answer = transport.metadata(&request)?;
        refresh.supply(answer)?.iter().try_for_each(&mut store)?;
    }
    Ok(refresh)
}

/// Finds a target, in delegated roles too where the repository may delegate, fetches it and verifies it. One that is longer
/// than `limit` is not fetched. `now` is the refresh's.
pub fn fetch_with<T: Transport>(
    repository: &mut Repository,
    path: &str,
    limit: u64,
    now: Instant,
    transport: &mut T,
) -> Result<Vec<u8>, T::Error> {
    let mut search = Search::start(repository, path, now)?;
    while let Some(request) = search.request() {
        let answer = transport.metadata(&request)?;
        search.supply(answer)?;
    }
    // TUF 5.7.2: no metadata, no target.
    let missing = || TrustError::NoTarget(path.to_owned());
    let length = search.finish()?.ok_or_else(missing)?.length;
    if length > limit {
        return Err(TrustError::TargetTooLong { path: path.to_owned(), length, limit }.into());
    }
    let name = repository.file_name(path).ok_or_else(missing)?;
    // TUF 5.7.3: no more bytes than were signed, then their exact number and every hash.
    match transport.target(&Request { name: name.clone(), max_bytes: length })? {
        Answer::Found(bytes) => {
            repository.verify_target(path, &bytes)?;
            Ok(bytes)
        }
        Answer::NotFound => Err(TrustError::Missing(name).into()),
    }
}
