//! What this home remembers of the server's audit record, and the server held to it at every connection, and once more behind
//! a command that has added an entry to it.
//!
//! Attack: see [`suture_core::audit`]. `audit.json` holds the record's key and the last checkpoint that was seen. A server
//! that cannot show that its newest checkpoint extends that one is refused, and both checkpoints are put aside in
//! `audit.doubt.json`: signed by one key, they convict it before anybody. Only orders that stop devices go through
//! nevertheless: they are signed, and the record has no say in them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use suture_core::audit::{Checkpoint, Head, KeyChange, LogKey, News, Refused, Taken, Witness};
use suture_core::limits::MAX_KEY_CHANGES;
use suture_proto::v1;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Exit, Failure, OrFail as _, Outcome};
use crate::files::Access;
use crate::home::Home;

/// What is remembered.
pub const FILE: &str = "audit.json";
/// What a server has signed that does not fit together.
pub const DOUBT: &str = "audit.doubt.json";

/// How long a command that is done waits for the record's head with its own entry. With what writing it down may wait for a
/// lock, 1 s, that is 2 s at most.
const ANSWER: Duration = Duration::from_secs(1);

/// `audit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The key, and the last checkpoint.
    pub witness: Witness,
    /// How far this home has read the record itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Head>,
    /// What it was given to read of those entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Read>,
    /// The keys by which this home knew the record before, oldest first; each has named the next by its signature. What was
    /// signed by them stays verifiable, as in an evidence folder of that time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Former>,
}

/// A key that has named another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Former {
    /// The key.
    pub key: LogKey,
    /// How many entries the record had when this home first saw it under a later key. Attack: whoever has stolen a key, which is why it
    /// was changed, makes up a record of more.
    pub most: u64,
}

/// What this home was given when it read the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// As whom it asked.
    pub by: String,
    /// How many entries came without their texts.
    pub withheld: u64,
}

impl Kept {
    /// Knows a record by its key, and nothing of it yet.
    pub fn new(key: LogKey) -> Self {
        Self { witness: Witness::new(key), verified: None, read: None, before: Vec::new() }
    }

    /// Takes in what the server shows; nothing is changed where that is refused.
    fn take(&mut self, news: &News) -> Result<Taken, Refused> {
        let mut key = self.witness.key.clone();
        let taken = self.witness.take(news)?;
        for change in &news.succession {
            let next = KeyChange::verify(change, &key).map_err(Refused::Change)?.next().clone();
            let most = self.witness.head.map_or(0, |head| head.size);
            self.before.push(Former { key: std::mem::replace(&mut key, next), most });
        }
        let more = self.before.len().saturating_sub(MAX_KEY_CHANGES);
        self.before.drain(..more);
        Ok(taken)
    }
}

/// `audit.doubt.json`: two checkpoints of one log of which neither extends the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Doubt {
    /// When, by this machine's clock.
    pub at: String,
    /// The key that signed the first.
    pub key: LogKey,
    /// What was remembered.
    pub seen: Option<String>,
    /// What was shown instead.
    pub offered: String,
}

/// What this home remembers; none before it has joined.
pub fn kept(home: &Home) -> Outcome<Option<Kept>> {
    let Some(bytes) = home.read(FILE)? else { return Ok(None) };
    let kept = serde_json::from_slice(&bytes);
    let kept = kept.or_fail(|| format!("{} cannot be read", home.directory().join(FILE).display()));
    Ok(Some(kept.map_err(|f| f.next("restore it; without it the audit record may be another one unnoticed"))?))
}

/// Remembers that, whatever is remembered.
pub fn keep(home: &Home, kept: &Kept) -> Outcome {
    home.write(FILE, &to_bytes(kept)?, Access::Public)
}

/// Remembers what has come of `seen`, and takes nothing back that another command of this home's has remembered meanwhile.
///
/// Attack: a server that holds an answer back until another command has added an entry, and drops that entry then: were the older
/// answer to be remembered last, nobody would miss it.
pub fn grow(home: &Home, seen: Option<&Kept>, kept: &Kept) -> Outcome {
    grow_within(home, seen, kept, false)
}

fn grow_within(home: &Home, seen: Option<&Kept>, grown: &Kept, soon: bool) -> Outcome {
    let lock = home.lock("", soon)?;
    match merged(seen, kept(home)?, grown) {
        Some(kept) => Ok(lock.write(FILE, &to_bytes(&kept)?, Access::Public)?),
        None => Ok(()),
    }
}

/// What is to be remembered where `now` is, and `grown` has come of `seen`; none where a person has had it forgotten since.
fn merged(seen: Option<&Kept>, now: Option<Kept>, grown: &Kept) -> Option<Kept> {
    let Some(now) = now.filter(|now| Some(now) != seen) else { return Some(grown.clone()) };
    if seen.is_some_and(|seen| now.witness.size() < seen.witness.size()) {
        return None;
    }
    let theirs = match now.witness.key == grown.witness.key {
        true => now.witness.size() > grown.witness.size(),
        false => now.before.iter().any(|former| former.key == grown.witness.key),
    };
    let read = |kept: &Kept| kept.verified.map_or(0, |head| head.size);
    let further = if read(&now) > read(grown) { &now } else { grown };
    let (verified, read) = (further.verified, further.read.clone());
    let record = if theirs { &now } else { grown };
    Some(Kept { verified, read, ..record.clone() })
}

fn to_bytes(kept: &Kept) -> Outcome<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(kept).or_fail(|| format!("cannot write {FILE}"))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Knows the record by the key that a token names, from the beginning.
pub fn pin(home: &Home, key: &LogKey) -> Outcome {
    match kept(home)? {
        None => keep(home, &Kept::new(key.clone())),
        Some(_) => Ok(()),
    }
}

/// The key by which this home knows the record.
pub fn key(home: &Home) -> Outcome<LogKey> {
    let kept = kept(home)?.ok_or_else(|| {
        Failure::new("this home does not know the audit record's key yet")
            .next("name it with --key, as `suture-server audit key` or a colleague's `suturectl audit key` prints it")
    })?;
    Ok(kept.witness.key)
}

/// Asks for the newest checkpoint and holds the server to what is remembered.
pub async fn follow(context: &Context<'_>, client: &mut Client) -> Outcome<Kept> {
    let known = kept(&context.home)?;
    let news = ask(client, known.as_ref()).await?;
    let (kept, taken) = held_to(context, known.clone(), news)?;
    if taken == Taken::Grown {
        grow(&context.home, known.as_ref(), &kept)?;
    }
    Ok(kept)
}

async fn ask(client: &mut Client, known: Option<&Kept>) -> Outcome<v1::AuditNews> {
    let seen = known.map(|k| v1::AuditSeen::from(&k.witness));
    let v1::GetCheckpointResponse { news } = client.get_checkpoint(v1::GetCheckpointRequest { seen }).await?;
    news.ok_or_else(|| Failure::untrusted("the server shows no checkpoint of its audit record"))
}

/// What is known from now on; where the server is refused the evidence is put aside.
fn held_to(context: &Context<'_>, known: Option<Kept>, news: v1::AuditNews) -> Outcome<(Kept, Taken)> {
    let home = &context.home;
    let mut kept = match known {
        Some(kept) => kept,
        // A home that no token has told of the key takes the one that it is shown first, of its own server's name.
        None => {
            let key: LogKey = news.key.parse().map_err(|e| Failure::of(Exit::Untrusted, &e))?;
            if key.origin != home.server()?.trust_domain {
                return Err(Failure::untrusted(format!("the server shows the audit record of {}", key.origin)));
            }
            Kept::new(key)
        }
    };
    let before = kept.witness.clone();
    match kept.take(&News::try_from(news)?) {
        Ok(taken) => Ok((kept, taken)),
        Err(refused) => {
            if let Refused::Rewritten { checkpoint, .. } = &refused {
                set_aside(context, &before, checkpoint)?;
            }
            Err(distrust(home, &refused))
        }
    }
}

/// Remembers the record with what this command has just added to it, where it has, so that the entry cannot be dropped later
/// without this home noticing. Gives what a person must be told: that the record does not go on from what was seen, which is
/// told once. What was done is done: an answer that is slow or missing is nobody's business.
pub async fn remember(context: &Context<'_>) -> Option<String> {
    let mut client = context.changed.take()?;
    // A home that remembers nothing has not connected yet as it should.
    let known = kept(&context.home).ok()??;
    let doubted = context.home.read(DOUBT).ok()?.is_some();
    let news = tokio::time::timeout(ANSWER, ask(&mut client, Some(&known))).await.ok()?.ok()?;
    match held_to(context, Some(known.clone()), news) {
        Ok((kept, Taken::Grown)) => {
            // That it cannot be written is found by the next command.
            let _ = grow_within(&context.home, Some(&known), &kept, true);
            None
        }
        Err(failure) if failure.exit == Exit::Untrusted && !doubted => {
            Some(format!("it was done, but: {}", failure.to_text().trim_start_matches("error: ")))
        }
        _ => None,
    }
}

fn set_aside(context: &Context<'_>, before: &Witness, offered: &str) -> Outcome {
    let home = &context.home;
    // The first is the one that counts: a server that goes to and fro cannot wash it away.
    if home.read(DOUBT)?.is_some() {
        return Ok(());
    }
    let at = suture_core::clock::format_utc(context.now());
    let doubt = Doubt { at, key: before.key.clone(), seen: before.checkpoint.clone(), offered: offered.to_owned() };
    let mut bytes = serde_json::to_vec_pretty(&doubt).or_fail(|| format!("cannot write {DOUBT}"))?;
    bytes.push(b'\n');
    home.write(DOUBT, &bytes, Access::Public)
}

/// What a person does about a record that does not go on from where it was.
fn distrust(home: &Home, refused: &Refused) -> Failure {
    let place = |name: &str| home.directory().join(name).display().to_string();
    Failure::of(Exit::Untrusted, refused).next(format!(
        "do nothing more through this server; keep {} and {} as evidence and compare with a colleague's `suturectl audit key`; \
         if the server was set back by those who run it, and they can say why: `suturectl audit restart --reason TEXT`",
        place(FILE),
        place(DOUBT)
    ))
}

/// What goes to whoever has sent an order through a server whose record is in doubt; nothing where none is.
pub fn warning(home: &Home) -> Outcome<Option<String>> {
    Ok(home.read(DOUBT)?.map(|_| {
        format!(
            "the server's audit record is in doubt ({}); `suturectl audit verify` says more",
            home.directory().join(DOUBT).display()
        )
    }))
}

/// Forgets the record, once a person has said why it may be another: what was remembered stays as evidence. Gives where.
pub fn forget(context: &Context<'_>, reason: &str) -> Outcome<String> {
    let home = &context.home;
    let Some(kept) = kept(home)? else { return Err(Failure::new("this home remembers no audit record")) };
    let size = kept.witness.size();
    let name = format!("audit.before.{}.json", context.now().as_second());
    let doubt = home.read(DOUBT)?.map(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes));
    let doubt = doubt.transpose().or_fail(|| format!("{DOUBT} cannot be read"))?;
    let aside = serde_json::json!({ "reason": reason, "size": size, "remembered": kept, "doubt": doubt });
    let mut bytes = serde_json::to_vec_pretty(&aside).or_fail(|| format!("cannot write {name}"))?;
    bytes.push(b'\n');
    home.write(&name, &bytes, Access::Public)?;
    // The key stays: another one needs its word.
    keep(home, &Kept { before: kept.before, ..Kept::new(kept.witness.key) })?;
    crate::files::remove(&home.directory().join(DOUBT))?;
    Ok(home.directory().join(name).display().to_string())
}

/// The checkpoint that is remembered, verified again.
pub fn checkpoint(kept: &Kept) -> Outcome<Checkpoint> {
    let note = kept.witness.checkpoint.as_deref().unwrap_or_default();
    Checkpoint::verify(note, &kept.witness.key)
        .map_err(|e| Failure::of(Exit::Failed, &e).next(format!("{FILE} was changed; restore it")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::digest::Digest;
    use suture_core::sign::{LocalKey, Signer as _};

    #[test]
    fn what_is_remembered_is_kept_and_damage_is_not_taken_for_a_fresh_start() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        assert_eq!(kept(&home).unwrap(), None);
        assert!(key(&home).unwrap_err().to_text().contains("audit key"));
        let signer = LocalKey::from_seed(&zeroize::Zeroizing::new([3; 32]));
        let named = LogKey { origin: "acme.example".parse().unwrap(), key: signer.public() };
        pin(&home, &named).unwrap();
        let head = Head { size: 7, root: Digest::of(b"root") };
        let note = Checkpoint::sign(head, &named.origin, &signer).unwrap().note().to_owned();
        let witness = Witness { checkpoint: Some(note), head: Some(head), key: named.clone() };
        let remembered =
            Kept { witness, verified: Some(head), read: None, before: vec![Former { key: named.clone(), most: 7 }] };
        keep(&home, &remembered).unwrap();
        // A second token does not make it forget.
        pin(&home, &LogKey { key: LocalKey::from_seed(&zeroize::Zeroizing::new([4; 32])).public(), ..named.clone() })
            .unwrap();
        assert_eq!(kept(&home).unwrap().unwrap(), remembered);
        assert_eq!(checkpoint(&remembered).unwrap().head(), head);
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(kept(&home).is_err() && key(&home).is_err());
    }

    /// Found: of two commands of one home the one that was answered first, and wrote last, took back what the other had remembered: a
    /// server could drop the entry that the other had left.
    #[test]
    fn of_two_commands_at_once_the_older_answer_takes_nothing_back() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let named = |of: u8| {
            let key = LocalKey::from_seed(&zeroize::Zeroizing::new([of; 32]));
            LogKey { origin: "acme.example".parse().unwrap(), key: key.public() }
        };
        let head = |size: u64| Head { size, root: Digest::of(&size.to_be_bytes()) };
        let at = |size: u64| {
            let witness = Witness { head: Some(head(size)), checkpoint: Some(size.to_string()), key: named(3) };
            Kept { witness, ..Kept::new(named(3)) }
        };
        let size = || kept(&home).unwrap().unwrap().witness.size();
        // Both have read 10; the one is told of 12 and the other of 13.
        keep(&home, &at(10)).unwrap();
        grow(&home, Some(&at(10)), &at(13)).unwrap();
        grow(&home, Some(&at(10)), &at(12)).unwrap();
        assert_eq!(size(), 13);
        // How far the record was read stays too, and comes with what is newer.
        grow(&home, Some(&at(10)), &Kept { verified: Some(head(11)), ..at(11) }).unwrap();
        assert_eq!((size(), kept(&home).unwrap().unwrap().verified), (13, Some(head(11))));
        grow(&home, Some(&at(13)), &at(14)).unwrap();
        assert_eq!((size(), kept(&home).unwrap().unwrap().verified), (14, Some(head(11))));
        // A key that was changed meanwhile is not changed back, however long the record was under the old one.
        let before = vec![Former { key: named(3), most: 14 }];
        let witness = Witness { key: named(4), ..at(14).witness };
        grow(&home, Some(&at(14)), &Kept { witness, before, ..at(14) }).unwrap();
        grow(&home, Some(&at(14)), &at(15)).unwrap();
        assert_eq!(kept(&home).unwrap().unwrap().witness.key, named(4));
        // What a person has had forgotten is not brought back by whoever had read it before.
        keep(&home, &Kept::new(named(4))).unwrap();
        grow(&home, Some(&at(14)), &at(15)).unwrap();
        assert_eq!(size(), 0);
    }

    #[test]
    fn a_key_that_was_changed_stays_known_for_what_it_has_signed() {
        let signer = |of: u8| LocalKey::from_seed(&zeroize::Zeroizing::new([of; 32]));
        let named = |of: u8| LogKey { origin: "acme.example".parse().unwrap(), key: signer(of).public() };
        let change = |from: u8, to: u8| KeyChange::sign(named(to), &signer(from)).unwrap().note().to_owned();
        let news = |key: u8, succession: Vec<String>| News {
            checkpoint: Checkpoint::sign(Head::empty(), &named(0).origin, &signer(key)).unwrap().note().to_owned(),
            consistency: Vec::new(),
            succession,
        };
        let mut kept = Kept::new(named(3));
        assert_eq!(kept.take(&news(5, vec![change(3, 4), change(4, 5)])).unwrap(), Taken::Grown);
        let former = [3, 4].map(|of| Former { key: named(of), most: 0 });
        assert_eq!((&kept.witness.key, kept.before.as_slice()), (&named(5), former.as_slice()));
        // Told again, or refused, nothing is added.
        assert_eq!(kept.take(&news(5, Vec::new())).unwrap(), Taken::Stands);
        assert!(kept.take(&news(7, vec![change(6, 7)])).is_err());
        assert_eq!(kept.before, former);
    }
}
