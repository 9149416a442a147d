//! Letters that this home writes.

use suture_core::approval::SignedDocument as _;
use suture_core::clock::whole_second;
use suture_core::id::HdoId;
use suture_core::limits::MAX_LETTERS_PER_CALL;
use suture_core::notice::{Head, Letter, Said, Side, VerifiedLetter};
use suture_core::sign::Signer;
use suture_core::trust::{Role, Root};
use suture_proto::v1;

use super::Heads;
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::statements::{may_use, own_name};
use crate::keys::{KeyName, Keys};
use crate::repository::may_sign;

/// Who writes, and with which key.
pub struct Writing {
    side: Side,
    key: Box<dyn Signer>,
}

impl Writing {
    /// With a key that the root lists, and ties to nobody else.
    pub fn open(context: &Context<'_>, root: &Root, side: Side, key: &KeyName) -> Outcome<Self> {
        let key = context.key(key)?;
        may_sign(root, Role::Targets, &*key)?;
        may_use(context, root, &key.public())?;
        Ok(Self { side, key })
    }

    /// The same, where this home has such a key; none where it has not.
    pub fn open_if_any(context: &Context<'_>, root: &Root, side: Side, key: &KeyName) -> Outcome<Option<Self>> {
        let listed = |public| root.authority(Role::Targets).keys().any(|k| *k == public);
        match Keys::of(&context.home).public(key) {
            Ok(public) if listed(public) => Self::open(context, root, side, key).map(Some),
            _ => Ok(None),
        }
    }
}

/// Writes and signs the letter after a series' last one.
pub fn write(
    context: &Context<'_>,
    writing: &Writing,
    hdo: &HdoId,
    before: Option<Head>,
    said: Said,
) -> Outcome<VerifiedLetter> {
    let letter = Letter {
        kind: Letter::TYPE.to_owned(),
        format: 1,
        from: writing.side,
        hdo: hdo.clone(),
        number: before.map_or(0, |head| head.number).saturating_add(1),
        previous: before.map(|head| head.sha256),
        said,
        key: writing.key.public(),
        name: own_name(context)?,
        written_at: whole_second(context.now()),
    };
    letter.sign(&*writing.key).map_err(|e| Failure::of(crate::failure::Exit::Failed, &e))
}

/// Hands letters over, as many at once as fit, and remembers each series' new end; `sent` is told of those of each call.
pub async fn send(
    context: &Context<'_>,
    client: &mut Client,
    letters: &[VerifiedLetter],
    mut sent: impl FnMut(&[VerifiedLetter]) -> Outcome,
) -> Outcome {
    /// Well below what one message may have.
    const MAX_BYTES: usize = 8 << 20;
    let mut rest = letters;
    while !rest.is_empty() {
        let mut bytes = 0usize;
        let fit = rest.iter().take(MAX_LETTERS_PER_CALL as usize).take_while(|letter| {
            bytes = bytes.saturating_add(letter.bytes().len());
            bytes <= MAX_BYTES
        });
        let (part, behind) = rest.split_at(fit.count().max(1).min(rest.len()));
        let request = v1::SendLettersRequest { letters: part.iter().map(|l| l.bytes().to_vec().into()).collect() };
        client.send_letters(request).await.map_err(|failure| {
            match letters.split_at(letters.len().saturating_sub(rest.len())).0 {
                [] => failure,
                sent => failure.next(partly(sent, letters.len())),
            }
        })?;
        let mut heads = Heads::load(&context.home)?;
        for letter in part {
            heads.put(&letter.hdo, letter.from, letter.head());
        }
        heads.save(&context.home)?;
        sent(part)?;
        rest = behind;
    }
    Ok(())
}

/// What a person is told where the line was cut between two calls.
fn partly(sent: &[VerifiedLetter], all: usize) -> String {
    const NAMED: usize = 20;
    let names: Vec<&str> = sent.iter().take(NAMED).map(|letter| letter.hdo.as_str()).collect();
    let more = match sent.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{} of {all} were sent, to {}{more}; published again, it goes to the others alone",
        sent.len(),
        names.join(", ")
    )
}
