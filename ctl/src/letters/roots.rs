//! By whose root a side's letters are verified.

use suture_core::id::HdoId;
use suture_core::limits::{MAX_ROOT_STEPS, MAX_ROOTS_PER_CALL};
use suture_core::notice::Side;
use suture_core::trust::{Root, Verified};
use suture_proto::v1;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::files::Access;
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

/// A hospital's root at the manufacturer's: the one that was seen last, and what follows from it.
async fn hospital(context: &mut Context<'_>, client: &mut Client, hdo: &HdoId) -> Outcome<Verified<Root>> {
    let file = format!("trust/hospitals/{hdo}.json");
    let mut root = context.home.read(&file)?.map(|bytes| Verified::<Root>::pinned(&bytes)).transpose()?;
    for _ in 0..MAX_ROOT_STEPS {
        let after = root.as_ref().map_or(0, |root| root.version());
        let request = v1::ListLettersRequest {
            hdo: hdo.to_string(),
            from: Side::Hospital.as_str().to_owned(),
            after: suture_core::limits::MAX_LETTERS,
            limit: 1,
            roots_after: Some(after),
        };
        let roots = client.list_letters(request).await?.roots;
        let last = roots.len() < MAX_ROOTS_PER_CALL;
        for bytes in roots {
            let next = match &root {
                Some(root) => root.next(&bytes)?,
                None => {
                    let first = Verified::<Root>::pinned(&bytes)?;
                    context.print.note(&format!(
                        "note: {hdo}'s root is seen here for the first time and taken as it is; compare its fingerprint with the \
                         hospital over another channel: {}",
                        grouped(&first.digest().to_string())
                    ));
                    first
                }
            };
            context.home.write(&file, &bytes, Access::Public)?;
            root = Some(next);
        }
        if last {
            break;
        }
    }
    root.ok_or_else(|| {
        Failure::new(format!("{hdo} has no approvals yet, so it has signed nothing"))
            .next("the hospital's first operator begins with `suturectl approvals init`")
    })
}
