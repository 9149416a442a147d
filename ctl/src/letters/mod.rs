//! Letters between manufacturer and hospital, as this home sees them: every one is verified, and none that was seen can be
//! taken back unnoticed.
//!
//! Each side's letters are followed by the keys of its root ([`suture_core::notice::follow`]). A hospital has the catalog's
//! root pinned, and its own. The manufacturer takes a hospital's first root as it is shown, says so with its fingerprint, and
//! follows it from there on; once people have compared the two (`hdo pin`), none but that one is followed.

mod heads;
mod publish;
mod roots;
mod sending;
mod shown;
mod write;

use suture_core::id::HdoId;
use suture_core::limits::MAX_LETTERS;
use suture_core::notice::{Side, Standing, VerifiedLetter, follow};
use suture_core::trust::{Root, Verified};
use suture_proto::v1;

pub use heads::Heads;
pub use publish::{Published, Recipients, publish};
pub use roots::{compared, pin, root_of};
pub use shown::{Answered, States, StepShown, instant};
pub use write::{Writing, send, write};

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};

/// A letter, verified, and how far it has come by the server's word.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The letter.
    pub letter: VerifiedLetter,
    /// What its key counts for.
    pub standing: Standing,
    /// How far it has come.
    pub states: States,
}

/// Whose letters, and from where on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// All of them.
    First,
    /// Those behind the one that this home has seen last, which comes with them.
    Seen,
}

/// Fetches what one side has written, verifies it against what this home has seen, and remembers how far that is.
pub async fn fetch(
    context: &mut Context<'_>,
    client: &mut Client,
    (hdo, side): (&HdoId, Side),
    root: &Verified<Root>,
    from: From,
) -> Outcome<Vec<Kept>> {
    let mut heads = Heads::load(&context.home)?;
    let known = heads.get(hdo, side);
    let mut after = match (from, known) {
        (From::Seen, Some(head)) => head.number.saturating_sub(1),
        _ => 0,
    };
    let (mut letters, mut states) = (Vec::new(), Vec::new());
    loop {
        let request = v1::ListLettersRequest {
            hdo: hdo.to_string(),
            from: side.as_str().to_owned(),
            after,
            limit: 0,
            roots_after: None,
        };
        let v1::ListLettersResponse { letters: page, more, roots: _ } = client.list_letters(request).await?;
        let before = after;
        for stored in page {
            if stored.number <= after || stored.number > MAX_LETTERS {
                return Err(Failure::untrusted("the server's list of letters does not come to an end"));
            }
            after = stored.number;
            letters.push(read(&stored.content, side)?);
            states.push(States::read(stored)?);
        }
        if !more || after == before {
            break;
        }
    }
    let followed = follow((hdo, side), known, &letters, |letter| letter.is_listed(root)).map_err(|e| {
        Failure::of(Exit::Untrusted, &e)
            .next("keep what the server shows, and ask the other side how far its letters are: the server holds some back, or has changed them")
    })?;
    if let Some(head) = followed.head {
        heads.put(hdo, side, head);
        heads.save(&context.home)?;
    }
    let kept = letters.into_iter().zip(followed.standing).zip(states);
    Ok(kept.map(|((letter, standing), states)| Kept { letter, standing, states }).collect())
}

/// A letter of the server's list, by the key that it names.
pub(crate) fn read(content: &[u8], side: Side) -> Outcome<VerifiedLetter> {
    VerifiedLetter::verify(content).map_err(|e| {
        Failure::untrusted(format!("a letter of the {side}'s that the server shows does not verify"))
            .because(&e)
            .next("keep it, and ask the other side for it over another channel")
    })
}

/// The letter of that number, which must be signed by somebody who may.
pub fn find(kept: Vec<Kept>, number: u64, side: Side) -> Outcome<Kept> {
    let found = kept.into_iter().find(|kept| kept.letter.number == number);
    let found = found.ok_or_else(|| Failure::new(format!("the {side} has written no letter {number}")))?;
    if found.standing == Standing::Unlisted {
        return Err(Failure::untrusted(format!(
            "letter {number} is signed by the key {}, which the {side}'s root does not list for {}: it may be anybody's",
            found.letter.key, found.letter.name
        ))
        .next("ask the other side over another channel whether they wrote it"));
    }
    Ok(found)
}
