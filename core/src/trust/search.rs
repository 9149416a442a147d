//! The search for a target through delegated roles: TUF 5.6.7.
//!
//! Attacks stopped here: delegations that never end (a role is asked once, and 32 at most), an online key or a server that
//! keeps a role's file back so that a lower-ranking role gets the word (the search ends there), and one bad delegate that
//! stops all the rest (it is asked for nothing but the paths it was given, so nothing else notices). A caller that keeps the
//! last file of each role and tells of it with [`Search::taken`] is played none that its owner has since replaced.

use std::collections::BTreeSet;

use jiff::Timestamp as Instant;

use super::delegation::{Delegation, delegated_name};
use super::earlier::Earlier;
use super::repository::Found;
use super::targets::Listed;
use super::{Answer, Metadata, Pin, Repository, Request, Role, Target, Targets, TrustError, Verified};
use crate::limits::MAX_DELEGATED_ROLES;

/// One search for one target in one repository. It does no input or output; see [`super::fetch_with`] for the loop.
///
/// The files that it asks for never change under their names. A caller may keep them and answer from what it kept: they are
/// verified each time, by the very delegation that led to them.
#[derive(Debug)]
pub struct Search<'a> {
    repository: &'a mut Repository,
    path: String,
    now: Instant,
    /// Roles still to be asked, the next one last.
    pending: Vec<Delegation>,
    visited: BTreeSet<String>,
    /// The first instant at which one of the files that led here has expired.
    expires: Instant,
    /// The role that is being asked, and what the snapshot says of its file.
    asked: Option<(Delegation, Pin)>,
    /// What the caller has last taken of that role.
    taken: Option<Vec<u8>>,
    failed: bool,
}

impl<'a> Search<'a> {
    /// Begins at the top-level targets role. `now` is the refresh's.
    pub fn start(repository: &'a mut Repository, path: &str, now: Instant) -> Result<Self, TrustError> {
        let top = repository.targets_metadata();
        let (expires, word) = (top.expires(), Word::of(top, path));
        let mut search = Self {
            repository,
            path: path.to_owned(),
            now,
            pending: Vec::new(),
            visited: BTreeSet::new(),
            expires,
            asked: None,
            taken: None,
            failed: false,
        };
        search.follow(word)?;
        Ok(search)
    }

    /// What to fetch next; nothing once the search has come to an end, good or bad.
    pub fn request(&self) -> Option<Request> {
        let (delegation, pin) = self.asked.as_ref()?;
        let name = delegated_name(&delegation.name, pin.version());
        Some(Request { name, max_bytes: pin.max_bytes(Role::Targets) })
    }

    /// The name of the role whose file [`Search::request`] asks for.
    pub fn role(&self) -> Option<&str> {
        self.asked().map(|delegation| delegation.name.as_str())
    }

    /// Offers what the caller has last taken of [`Search::role`], of whatever version, before it fetches anything. True where
    /// that is what is asked for still: the search goes on by it. Else it is remembered, and nothing is taken that was signed
    /// earlier; damaged bytes, or those of another owner, bind nobody.
    pub fn taken(&mut self, bytes: Vec<u8>) -> Result<bool, TrustError> {
        let (delegation, pin) = self.asked.take().ok_or(TrustError::OutOfTurn)?;
        match role_file(&pin, &delegation, &bytes, None, self.now) {
            Ok(targets) => self.follow_role(&targets).inspect_err(|_| self.failed = true).map(|()| true),
            // It is what is asked for, and fetching it would give the same again.
            Err(expired @ TrustError::Expired { .. }) => {
                self.failed = true;
                Err(TrustError::Delegated { role: delegation.name, source: Box::new(expired) })
            }
            Err(_) => {
                (self.asked, self.taken) = (Some((delegation, pin)), Some(bytes));
                Ok(false)
            }
        }
    }

    /// Takes the answer to [`Search::request`]. Once this returns no error, it is what the caller has last taken of the role.
    pub fn supply(&mut self, answer: Answer) -> Result<(), TrustError> {
        let (delegation, pin) = self.asked.take().ok_or(TrustError::OutOfTurn)?;
        let taken = self.taken.take();
        self.failed = true;
        let read = || {
            let Answer::Found(bytes) = answer else {
                return Err(TrustError::Missing(delegated_name(&delegation.name, pin.version())));
            };
            let earlier = taken.and_then(|taken| Earlier::of(&delegation.authority, &taken, self.expires));
            role_file(&pin, &delegation, &bytes, earlier, self.now)
        };
        // 5.6.7: a role that might have had the first word and cannot be read ends the search. Going on would hand its paths
        // to whoever comes after it.
        let delegated = |source| TrustError::Delegated { role: delegation.name.clone(), source: Box::new(source) };
        let targets = read().map_err(delegated)?;
        self.follow_role(&targets)?;
        self.failed = false;
        Ok(())
    }

    /// The role that is asked next.
    pub(super) fn asked(&self) -> Option<&Delegation> {
        self.asked.as_ref().map(|(delegation, _)| delegation)
    }

    /// Takes the metadata of the role that is asked, which the caller has verified by the very delegation.
    pub(super) fn take(&mut self, targets: &Verified<Targets>) -> Result<(), TrustError> {
        self.asked = None;
        self.follow_role(targets)
    }

    fn follow_role(&mut self, targets: &Verified<Targets>) -> Result<(), TrustError> {
        self.expires = self.expires.min(targets.expires());
        self.follow(Word::of(targets, &self.path))
    }

    /// What was found, once nothing more is asked for. From here on the repository knows the target.
    pub fn finish(self) -> Result<Option<&'a Target>, TrustError> {
        if self.failed || self.asked.is_some() {
            return Err(TrustError::OutOfTurn);
        }
        Ok(self.repository.target(&self.path))
    }

    /// Acts on one role's word, then goes on to the next role.
    fn follow(&mut self, word: Word) -> Result<(), TrustError> {
        match word {
            Word::Listed(listed) => {
                self.repository.learn(&self.path, Found { listed, expires: self.expires });
                Ok(())
            }
            Word::Ask(next) => {
                // 5.6.7.2.1: after a terminating one comes nobody, from here or from further up.
                if next.iter().any(|delegation| delegation.terminating) {
                    self.pending.clear();
                }
                // 5.6.7.2.2: after any other come the next ones, and then those that were pending.
                self.pending.extend(next.into_iter().rev());
                self.ask_next()
            }
        }
    }

    fn ask_next(&mut self) -> Result<(), TrustError> {
        while let Some(delegation) = self.pending.pop() {
            // 5.6.7.1: a role that was visited is skipped, so that circles end ..
            if !self.visited.insert(delegation.name.clone()) {
                continue;
            }
            // .. and so does what goes on and on. That nobody has the target is then unproven, hence an error.
            if self.visited.len() > MAX_DELEGATED_ROLES {
                return Err(TrustError::TooManyRoles(MAX_DELEGATED_ROLES));
            }
            let pin = self.repository.pin(&delegation.name)?.clone();
            self.asked = Some((delegation, pin));
            return Ok(());
        }
        Ok(())
    }
}

/// 5.6.2 to 5.6.5, by the keys that this delegator names.
pub(super) fn role_file(
    pin: &Pin,
    delegation: &Delegation,
    bytes: &[u8],
    earlier: Option<Earlier>,
    now: Instant,
) -> Result<Verified<Targets>, TrustError> {
    let targets: Verified<Targets> = Verified::under(pin, &delegation.authority, bytes)?;
    earlier.map_or(Ok(()), |earlier| earlier.precedes(&targets))?;
    targets.fresh(now)?;
    Ok(targets)
}

/// What one role's metadata say of a path.
enum Word {
    Listed(Listed),
    /// Ask these roles, in this order.
    Ask(Vec<Delegation>),
}

impl Word {
    fn of(targets: &Targets, path: &str) -> Self {
        // 5.6.7.1: this role has the target.
        if let Some(listed) = targets.listed(path) {
            return Self::Listed(listed.clone());
        }
        // 5.6.7.2: else the roles that it trusts with the path, in order of appearance, up to a terminating one.
        let mut next = Vec::new();
        for delegation in targets.delegations().filter(|d| d.covers(path)) {
            next.push(delegation.clone());
            if delegation.terminating {
                break;
            }
        }
        Self::Ask(next)
    }
}
