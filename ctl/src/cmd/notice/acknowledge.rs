//! `notice acknowledge`, and `report acknowledge` at the manufacturer.

use serde_json::json;
use suture_core::id::HdoId;
use suture_core::notice::{Acknowledgement, Said, Side, VerifiedLetter};
use suture_proto::v1;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::keys::KeyName;
use crate::letters::{From, Heads, Writing, fetch, find, root_of, send, write};

/// Runs it at a hospital.
pub(super) async fn run(context: &mut Context<'_>, number: u64, text: String, key: &KeyName) -> Outcome {
    let hdo = context.home.server()?.hdo()?;
    let mut client = context.connect().await?;
    acknowledge(context, &mut client, (&hdo, Side::Hospital), (number, text), key).await
}

/// Answers the other side's letter: signed where this home has a key that may write, else on its certificate alone.
pub(in crate::cmd) async fn acknowledge(
    context: &mut Context<'_>,
    client: &mut Client,
    (hdo, own): (&HdoId, Side),
    (number, text): (u64, String),
    key: &KeyName,
) -> Outcome {
    let theirs = (hdo, own.other());
    let root = root_of(context, client, theirs).await?;
    let kept = find(fetch(context, client, theirs, &root, From::First).await?, number, own.other())?;
    if kept.states.answer_by.is_none() {
        return Err(Failure::new(format!("letter {number} asks for no answer")));
    }
    if let Some(answered) = kept.states.acknowledged.as_ref().filter(|a| a.letter_sha256.is_some()) {
        return Err(Failure::new(format!(
            "{} has acknowledged it already, at {}: {:?}",
            answered.by, answered.at, answered.text
        )));
    }
    let signed = sign(context, client, (hdo, own), &kept.letter, &text, key).await?;
    match &signed {
        Some(letter) => send(context, client, std::slice::from_ref(letter), |_| Ok(())).await?,
        None => {
            context.print.note(&format!(
                "note: this home has no key {key} that signs for its side, so the acknowledgement is on the server's word alone"
            ));
            let sha256 = kept.letter.digest().as_bytes().to_vec().into();
            let request = v1::AcknowledgeLetterRequest { hdo: hdo.to_string(), number, sha256, text: text.clone() };
            client.acknowledge_letter(request).await?;
        }
    }
    let how = if signed.is_some() { ", signed" } else { "" };
    let result = json!({ "letter": number, "text": text, "signed": signed.is_some() });
    context
        .print
        .result(&result, |_| format!("letter {number} of the {}'s is acknowledged{how}: {text:?}", own.other()))
}

async fn sign(
    context: &mut Context<'_>,
    client: &mut Client,
    (hdo, own): (&HdoId, Side),
    letter: &VerifiedLetter,
    text: &str,
    key: &KeyName,
) -> Outcome<Option<VerifiedLetter>> {
    let root = root_of(context, client, (hdo, own)).await?;
    let Some(writing) = Writing::open_if_any(context, &root, own, key)? else { return Ok(None) };
    // The own series, as far as colleagues have written it meanwhile.
    fetch(context, client, (hdo, own), &root, From::Seen).await?;
    let before = Heads::load(&context.home)?.get(hdo, own);
    let said = Acknowledgement { number: letter.number, sha256: letter.digest(), text: text.to_owned() };
    write(context, &writing, hdo, before, Said::Acknowledgement(said)).map(Some)
}
