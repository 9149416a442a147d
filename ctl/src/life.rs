//! Products' lives as the catalog lists them and this home has read them.
//!
//! Attack: a manufacturer's key in the wrong hands, or a server with an old catalog, that rewrites what was announced. The
//! catalog's own rules stop an old one; a history that does not begin with what this home has read before is refused here,
//! whoever signed it.

use suture_core::approval::{Pinned, SignedDocument as _};
use suture_core::id::ProductId;
use suture_core::life::{self, Life};
use suture_core::limits::MAX_LIFE_BYTES;
use suture_core::trust::Target;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::files::{self, Access};
use crate::home::Home;
use crate::trust_store::{Catalog, TrustStore, Which};

/// What the catalog says of a product's life; none where it says nothing and never has to this home.
pub async fn of(
    context: &mut Context<'_>,
    client: &mut Client,
    catalog: &Catalog,
    product: &ProductId,
) -> Outcome<Option<Life>> {
    read(context, client, catalog.target(&life::path(product)), product).await
}

/// The same, with the catalog refreshed for it.
pub async fn refreshed(context: &mut Context<'_>, client: &mut Client, product: &ProductId) -> Outcome<Option<Life>> {
    let catalog = TrustStore::of(&context.home, Which::Catalog).refresh_catalog(client, context.now()).await?;
    of(context, client, &catalog, product).await
}

/// Reads the target that a verified catalog lists, and remembers it.
pub(crate) async fn read(
    context: &mut Context<'_>,
    client: &mut Client,
    target: Option<&Target>,
    product: &ProductId,
) -> Outcome<Option<Life>> {
    let known = remembered(&context.home, product)?;
    let Some(target) = target else {
        if known.is_some() {
            context.print.note(&format!(
                "note: the catalog says nothing of the life of {product} any more; what it said last is shown, and holds until it says more"
            ));
        }
        return Ok(known);
    };
    let path = life::path(product);
    if target.length > MAX_LIFE_BYTES {
        return Err(Failure::untrusted(format!("{path} has {} bytes, more than {MAX_LIFE_BYTES}", target.length)));
    }
    let pinned = Pinned { path: path.clone(), length: target.length, sha256: target.sha256 };
    let kept = files::read(&context.home.path(&kept_as(product))?, MAX_LIFE_BYTES)?;
    let bytes = match kept.filter(|bytes| pinned.verify(bytes).is_ok()) {
        Some(bytes) => bytes,
        None => client.target(Which::Catalog, &pinned.file_name(), pinned.length).await?,
    };
    pinned.verify(&bytes).map_err(|e| Failure::of(Exit::Untrusted, &e))?;
    let life = Life::parse(&bytes).map_err(|e| Failure::of(Exit::Untrusted, &e))?;
    if life.product != *product {
        return Err(Failure::untrusted(format!("{path} is the life of {}", life.product)));
    }
    if let Some(known) = &known {
        life.extends(known).map_err(|e| {
            Failure::untrusted(format!("the catalog's life of {product} is refused"))
                .because(&e)
                .next("do not act on it; keep what this home has, and ask the manufacturer over another channel")
        })?;
    }
    context.home.write(&kept_as(product), &bytes, Access::Public)?;
    Ok(Some(life))
}

/// What this home has read last of a product.
fn remembered(home: &Home, product: &ProductId) -> Outcome<Option<Life>> {
    let name = kept_as(product);
    let Some(bytes) = files::read(&home.path(&name)?, MAX_LIFE_BYTES)? else { return Ok(None) };
    let spoilt = |e| {
        Failure::of(Exit::Failed, &e).next(format!(
            "{name} of this home is spoilt: remove it, and read the life again from a catalog that you trust"
        ))
    };
    Life::parse(&bytes).map(Some).map_err(spoilt)
}

fn kept_as(product: &ProductId) -> String {
    format!("trust/catalog/{}", life::path(product))
}
