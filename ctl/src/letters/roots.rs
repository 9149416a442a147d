//! By whose root a side's letters are verified.

use suture_core::digest::Digest;
use suture_core::id::HdoId;
use suture_core::limits::{MAX_LETTERS, MAX_ROOT_STEPS, MAX_ROOTS_PER_CALL};
use suture_core::notice::Side;
use suture_core::trust::{Root, Verified};
use suture_proto::v1;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::files::Access;
use crate::home::Home;
use crate::print::grouped;
use crate::repository;
use crate::trust_store::Which;

/// The root in force of whoever writes.
pub async fn root_of(
    context: &mut Context<'_>,
    client: &mut Client,
    (hdo, side): (&HdoId, Side),
) -> Outcome<Verified<Root>> {
    let own = context.home.server()?.hdo().is_ok();
    match (side, own) {
        (Side::Manufacturer, _) => Ok(repository::base(context, client, Which::Catalog).await?.root().clone()),
        (Side::Hospital, true) => Ok(repository::base(context, client, Which::Approvals).await?.root().clone()),
        (Side::Hospital, false) => hospital(context, client, hdo).await,
    }
}

/// Where a hospital's root lies in the manufacturer's home, and the fingerprint that people have compared.
fn files(hdo: &HdoId) -> (String, String) {
    (format!("trust/hospitals/{hdo}.json"), format!("trust/hospitals/{hdo}.compared"))
}

/// A hospital's root at the manufacturer's: the one that was seen last, and what follows from it.
async fn hospital(context: &mut Context<'_>, client: &mut Client, hdo: &HdoId) -> Outcome<Verified<Root>> {
    let (file, _) = files(hdo);
    let known = context.home.read(&file)?.map(|bytes| Verified::<Root>::pinned(&bytes)).transpose()?;
    let news = follow(client, hdo, known.clone()).await?;
    if known.is_none()
        && let Some(first) = news.first()
    {
        match compared(&context.home, hdo)? {
            Some(compared) => begins(hdo, first, compared)?,
            None => {
                let fingerprint = grouped(&first.digest().to_string());
                context.print.note(&format!(
                    "note: {hdo}'s root is seen here for the first time and taken as it is. Compare its fingerprint with the hospital \
                     over another channel, then: suturectl hdo pin {hdo} --root \"{fingerprint}\""
                ));
            }
        }
    }
    if let Some(last) = news.last() {
        context.home.write(&file, last.bytes(), Access::Public)?;
    }
    news.into_iter().next_back().or(known).ok_or_else(|| none_yet(hdo))
}

fn none_yet(hdo: &HdoId) -> Failure {
    Failure::new(format!("{hdo} has no approvals yet, so it has signed nothing"))
        .next("the hospital's first operator begins with `suturectl approvals init`")
}

/// The roots that the server has of a hospital behind a known one, each of which follows from the one before.
async fn follow(client: &mut Client, hdo: &HdoId, known: Option<Verified<Root>>) -> Outcome<Vec<Verified<Root>>> {
    let mut news: Vec<Verified<Root>> = Vec::new();
    for _ in 0..MAX_ROOT_STEPS {
        let newest = news.last().or(known.as_ref());
        let request = v1::ListLettersRequest {
            hdo: hdo.to_string(),
            from: Side::Hospital.as_str().to_owned(),
            after: MAX_LETTERS,
            limit: 1,
            roots_after: Some(newest.map_or(0, |root| root.version())),
        };
        let roots = client.list_letters(request).await?.roots;
        let is_last = roots.len() < MAX_ROOTS_PER_CALL;
        for bytes in roots {
            let next = match news.last().or(known.as_ref()) {
                Some(root) => root.next(&bytes)?,
                None => Verified::<Root>::pinned(&bytes)?,
            };
            news.push(next);
        }
        if is_last {
            break;
        }
    }
    Ok(news)
}

/// The fingerprint of a hospital's first root that people have compared, where they have.
pub fn compared(home: &Home, hdo: &HdoId) -> Outcome<Option<Digest>> {
    let Some(bytes) = home.read(&files(hdo).1)? else { return Ok(None) };
    let digest = String::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok());
    digest.map(Some).ok_or_else(|| {
        Failure::new(format!("{} of this home holds no fingerprint", files(hdo).1))
            .next("remove it, compare once more, and `suturectl hdo pin`")
    })
}

/// Refuses a hospital that begins with another root than the one that was compared.
fn begins(hdo: &HdoId, first: &Verified<Root>, compared: Digest) -> Outcome {
    if first.digest() == compared {
        return Ok(());
    }
    Err(Failure::untrusted(format!(
        "the server shows {hdo}'s first root as {}, and the hospital's is {}",
        grouped(&first.digest().to_string()),
        grouped(&compared.to_string())
    ))
    .next(
        "compare once more over another channel, with what `suturectl approvals status` prints at the hospital; if they differ yet, \
         the server has put a root of its own in the hospital's place: believe nothing that it shows of them",
    ))
}

/// Takes the fingerprint of a hospital's first root as people have compared it. What this home has followed so far must begin
/// there; where it does not, it is followed no more, and that is said.
pub async fn pin(context: &mut Context<'_>, client: &mut Client, hdo: &HdoId, root: Digest) -> Outcome<Verified<Root>> {
    let roots = follow(client, hdo, None).await?;
    let (Some(first), Some(last)) = (roots.first(), roots.last()) else { return Err(none_yet(hdo)) };
    begins(hdo, first, root)?;
    let (file, mark) = files(hdo);
    let known = context.home.read(&file)?.map(|bytes| Verified::<Root>::pinned(&bytes)).transpose()?;
    if let Some(known) = known
        && !roots.iter().any(|root| root.digest() == known.digest())
    {
        context.print.note(&format!(
            "WARNING: until now this home followed another root of {hdo}'s, version {} with the SHA-256 {}. Either the server holds \
             the hospital's newest roots back, or what was verified here as the hospital's word was somebody else's: look at it again",
            known.version(),
            grouped(&known.digest().to_string())
        ));
    }
    context.home.write(&file, last.bytes(), Access::Public)?;
    context.home.write(&mark, format!("{root}\n").as_bytes(), Access::Public)?;
    Ok(last.clone())
}
