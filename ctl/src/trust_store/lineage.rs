//! Whether what a repository serves descends from what this home has verified or signed before.
//!
//! Attack: whoever has stolen the targets keys signs a version of his own under a number that has been used, or will be, and
//! shows it to this operator alone, who would build the next version upon it.

use suture_core::digest::Digest;
use suture_core::trust::{Answer, Descent, Edition, Targets, TrustError, Verified};

use super::TrustStore;
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::files::Access;
use crate::history::History;

const FILE: &str = "editions";

impl TrustStore<'_> {
    /// What this home has verified or signed of the repository.
    pub fn history(&self) -> Outcome<History> {
        let text = self.read(FILE)?.unwrap_or_default();
        let text = String::from_utf8(text).unwrap_or_else(|_| "no text".to_owned());
        let mut history = History::parse(&text).map_err(|f| {
            Failure { message: format!("{} of this home: {}", self.name(FILE), f.message), ..f }
                .next("ask a colleague for the line that `status` prints, remove the file, and give the line to `status --expect`")
        })?;
        if let Some(expected) = self.expected {
            history.anchor(expected);
        }
        Ok(history)
    }

    /// Remembers an edition that this home has signed, or that the token it joined with vouches for.
    pub fn remember(&self, edition: Edition) -> Outcome {
        let mut history = self.history()?;
        history.extend([edition]);
        self.write_history(&history)
    }

    /// Takes nothing back that another command of this home's has remembered meanwhile.
    fn write_history(&self, history: &History) -> Outcome {
        let lock = self.home.lock(self.which.directory(), false)?;
        let mut history = history.clone();
        history.keep_newer(&self.history()?);
        Ok(lock.write(FILE, history.to_text().as_bytes(), Access::Public)?)
    }

    /// Refuses targets metadata that do not descend, version by version, from the newest that this home knows. Those between
    /// are fetched; they are proven by digest, whichever keys signed them. Done before anything is stored, so that the alarm
    /// does not fall silent with the next command.
    pub(super) async fn descends(&self, client: &mut Client, targets: &Verified<Targets>) -> Outcome {
        let mut history = self.history()?;
        let head = Edition { version: targets.version(), sha256: targets.digest() };
        let Some(known) = history.newest() else {
            history.extend([head]);
            return self.write_history(&history);
        };
        if head == known && self.expected.is_none() {
            return Ok(());
        }
        if head.version < known.version {
            return Err(match history.get(head.version) {
                Some(sha256) if sha256 != head.sha256 => self.forked(&Edition { sha256, ..head }, &head),
                _ => self.held_back(&known, &head),
            });
        }
        let found = self.walk(client, head, known.version, Some(targets.bytes())).await?;
        match found.last() {
            Some(there) if there.sha256 != known.sha256 => return Err(self.forked(&known, there)),
            _ => history.extend(found),
        }
        self.write_history(&history)
    }

    /// The history as far back as version `oldest`, or as far as a walk goes; what is missing is fetched and proven.
    pub async fn history_back_to(&self, client: &mut Client, oldest: u64) -> Outcome<History> {
        let mut history = self.history()?;
        if let Some(from) = history.oldest().filter(|e| e.version > oldest) {
            let limit = suture_core::limits::MAX_DESCENT;
            let until = oldest.max(from.version.saturating_sub(limit)).max(1);
            let found = self.walk(client, from, until, None).await?;
            history.extend(found);
            self.write_history(&history)?;
        }
        Ok(history)
    }

    async fn walk(
        &self,
        client: &mut Client,
        from: Edition,
        until: u64,
        first: Option<&[u8]>,
    ) -> Outcome<Vec<Edition>> {
        let refused = |error: TrustError| {
            let next = match error {
                TrustError::Descent { .. } => {
                    "ask a colleague who has kept up for the line that `status` prints, and give it to `status --expect`"
                }
                _ => {
                    "sign nothing; the server may be holding back what would show a fork: compare the lines that `status` \
                     prints with your colleagues'"
                }
            };
            let which = self.which.as_str();
            Failure::untrusted(format!(
                "it cannot be proven that the {which} repository descends from what this home verified"
            ))
            .because(&error)
            .next(next)
        };
        let mut walk = Descent::from(from, until).map_err(refused)?;
        let mut first = first.map(<[u8]>::to_vec);
        while let Some(request) = walk.request() {
            let answer = match first.take() {
                Some(bytes) => Answer::Found(bytes),
                None => match client.metadata(self.which, &request.name, request.max_bytes).await? {
                    Some(bytes) => Answer::Found(bytes),
                    None => Answer::NotFound,
                },
            };
            walk.supply(answer).map_err(refused)?;
        }
        walk.finish().map_err(refused)
    }

    fn forked(&self, known: &Edition, other: &Edition) -> Failure {
        let which = self.which.as_str();
        let known_by = if self.expected == Some(*known) { "you expect" } else { "this home verified" };
        Failure::untrusted(format!(
            "FORK: the {which} repository has two contents under version {}: {known_by} SHA-256 {}, and what the server serves now \
             comes from SHA-256 {}. Both are signed by its targets keys, so somebody has signed twice under one number: most \
             likely the keys are stolen, or a copy of them is at work elsewhere",
            known.version,
            grouped(&known.sha256),
            grouped(&other.sha256),
        ))
        .next(format!(
            "sign nothing on either, and stop what runs (`suturectl rollout stop`). Compare `suturectl {which} status` with \
             your colleagues' over another channel; replace the targets keys if nobody can explain the second one. Once you \
             know which is yours, `suturectl {which} status --expect VERSION:SHA256` takes it, or begin with a new --home"
        ))
    }

    fn held_back(&self, known: &Edition, head: &Edition) -> Failure {
        let which = self.which.as_str();
        let known_by = if self.expected == Some(*known) { "you expect" } else { "this home verified" };
        Failure::untrusted(format!(
            "the server serves version {} of the {which} repository, and {known_by} version {}: it holds newer ones back, or was restored \
             from an older copy",
            head.version, known.version
        ))
        .next("sign nothing on it; whoever runs the server must bring the newer versions back")
    }
}

fn grouped(digest: &Digest) -> String {
    crate::print::grouped(&digest.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;
    use crate::trust_store::Which;

    /// Found: of two commands of one home the one that wrote last took back the editions that the other had verified.
    #[test]
    fn of_two_commands_at_once_neither_takes_back_what_the_other_has_verified() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let store = TrustStore::of(&home, Which::Approvals);
        let edition = |version: u64| Edition { version, sha256: Digest::of(&version.to_be_bytes()) };
        store.remember(edition(3)).unwrap();
        let mut ours = store.history().unwrap();
        for version in [4, 5] {
            store.remember(edition(version)).unwrap();
        }
        ours.extend([edition(4), edition(2)]);
        store.write_history(&ours).unwrap();
        let now = store.history().unwrap();
        assert_eq!((now.oldest(), now.newest()), (Some(edition(2)), Some(edition(5))));
    }
}
