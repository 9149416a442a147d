//! Words in a series as this home reads them: what the register of risk and the agreements have in common.
//!
//! Attack: a server that leaves an entry out, or shows another in its place. The home remembers the last number and digest
//! that it has seen of each series, and follows each from its first.

use jiff::Timestamp;
use suture_core::clock::format_utc;
use suture_core::id::{HdoId, OperatorName, ProductId};
use suture_core::notice::Head;
use suture_core::sign::{PublicKey, Signer};
use suture_core::trust::{Role, Root};
use suture_core::word::{Spoken, Word, follow};
use suture_proto::v1;

use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::files::Access;
use crate::home::Home;
use crate::hospital::statements::may_use;
use crate::keys::{KeyName, Keys};

/// A word as the server has recorded it.
#[derive(Debug, Clone)]
pub struct Heard<D> {
    /// What was said.
    pub word: Word<D>,
    /// By whose certificate it came, by the server's word.
    pub by: String,
    /// When, by the server's word.
    pub at: Option<String>,
}

/// Reads a word of the server's answer.
pub fn heard<D: Spoken>(spoken: v1::Spoken) -> Outcome<Heard<D>> {
    let v1::Spoken { word, recorded_by, recorded_ms } = spoken;
    let word = Word::read(&word).map_err(|e| {
        Failure::untrusted(format!("what the server gives as the {} of {recorded_by} is refused", D::TYPE)).because(&e)
    })?;
    let at = Timestamp::from_millisecond(recorded_ms).ok().map(format_utc);
    Ok(Heard { word, by: recorded_by, at })
}

/// Follows a whole series from its first word, remembers its end, and gives it.
pub fn followed<D: Spoken>(context: &Context<'_>, series: &Series<'_>, words: &[Heard<D>]) -> Outcome<Option<Head>> {
    let known = series.known(&context.home)?;
    let head = follow(words.iter().map(|heard| &heard.word), known).map_err(|e| {
        Failure::untrusted(format!("the server's {series} is not the one that was recorded"))
            .because(&e)
            .next("act on none of it; compare with a colleague's, and look at `suturectl audit verify`")
    })?;
    if let Some(head) = head {
        let bytes = serde_json::to_vec(&head).map_err(|e| Failure::new("cannot write what was seen").because(&e))?;
        context.home.write(&series.kept_as(), &bytes, Access::Public)?;
    }
    Ok(head)
}

/// Which series.
#[derive(Debug, Clone, Copy)]
pub enum Series<'a> {
    /// A hospital's register of risk.
    Risk(&'a HdoId),
    /// The agreements with a hospital on a product.
    Agreements(&'a HdoId, &'a ProductId),
}

impl std::fmt::Display for Series<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Risk(hdo) => write!(f, "register of risk of {hdo}"),
            Self::Agreements(hdo, product) => write!(f, "series of agreements with {hdo} on {product}"),
        }
    }
}

impl Series<'_> {
    fn kept_as(&self) -> String {
        match self {
            Self::Risk(hdo) => format!("trust/words/risk/{hdo}.json"),
            Self::Agreements(hdo, product) => format!("trust/words/agreements/{hdo}/{product}.json"),
        }
    }

    fn known(&self, home: &Home) -> Outcome<Option<Head>> {
        let name = self.kept_as();
        let Some(bytes) = home.read(&name)? else { return Ok(None) };
        let spoilt = |e| {
            Failure::new(format!("{name} of this home is spoilt"))
                .because(&e)
                .next("compare the newest entry with a colleague's, then remove the file")
        };
        serde_json::from_slice(&bytes).map(Some).map_err(spoilt)
    }
}

/// The key with which this home's operator speaks, if it has one that a root lists; and its name.
pub fn speaker(
    context: &Context<'_>,
    root: &Root,
    key: &KeyName,
    name: &OperatorName,
) -> Outcome<Option<(PublicKey, Box<dyn Signer>)>> {
    let listed = |public: &PublicKey| root.authority(Role::Targets).keys().any(|k| k == public);
    let public = match Keys::of(&context.home).public(key) {
        Ok(public) if listed(&public) => public,
        // The root ties a key to the name, so nothing is said without it; the server would refuse it too.
        _ => {
            return match root.authority(Role::Targets).keys().find(|k| root.holder(k) == Some(name)) {
                None => Ok(None),
                Some(own) => {
                    Err(Failure::new(format!("{name} holds the key {own}, and this home has no key {key} that is it"))
                        .next("say it at the home where the key is, or --key NAME"))
                }
            };
        }
    };
    may_use(context, root, &public)?;
    Ok(Some((public, context.key(key)?)))
}

/// Says a document: signed where there is a speaker's key, which it must name.
pub fn say<D: Spoken>(document: &D, signer: Option<&dyn Signer>) -> Outcome<Word<D>> {
    let word = match signer {
        Some(signer) => Word::sign(document, signer),
        None => Word::unsigned(document),
    };
    word.map_err(|e| Failure::of(Exit::Failed, &e))
}

/// Whose word it is, in one cell of a table.
pub fn signed_cell<D: Spoken>(word: &Word<D>, root: Option<&Root>) -> String {
    match (word.key(), root) {
        (None, _) => "no, by certificate alone".to_owned(),
        (Some(key), Some(root)) if word.is_listed(root) => key.to_string().chars().take(12).collect(),
        (Some(key), Some(_)) => format!("{} (not in the root)", key.to_string().chars().take(12).collect::<String>()),
        (Some(key), None) => {
            format!("{} (whose root is not read here)", key.to_string().chars().take(12).collect::<String>())
        }
    }
}
