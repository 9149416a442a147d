//! `bundle publish --notice`: that a patch is there, told with its publication.

use suture_core::manifest::{Manifest, PatchClass};
use suture_core::notice::Kind;

use crate::client::Client;
use crate::cmd::notice::auto::{self, Ready, With};
use crate::cmd::rollout::BundleName;
use crate::context::Context;
use crate::failure::Outcome;
use crate::keys::KeyName;
use crate::letters::Published;

/// Arguments of `bundle publish` about the notice.
#[derive(Debug, clap::Args)]
pub struct TellArgs {
    /// Tell the hospitals that have such devices: `auto` by what the bundle says, or a notice of the kind `patch-available`
    #[arg(long, value_name = "FILE|auto")]
    notice: Option<With>,
    /// The key that signs the notice, one of those that sign the catalog's targets
    #[arg(long, value_name = "KEY", default_value = "targets")]
    notice_key: KeyName,
}

/// What is sent once the bundle is published.
pub(super) struct Prepared {
    notice: Option<Ready>,
    key: KeyName,
    /// That nobody is told of an out-of-cycle patch is said.
    is_urgent: bool,
}

impl TellArgs {
    /// Before anything is sent: what cannot be said keeps the bundle from being published.
    pub(super) fn prepare(self, context: &Context<'_>, manifest: &Manifest) -> Outcome<Prepared> {
        let bundle = BundleName { product: manifest.product.clone(), release: manifest.release };
        let now = context.now();
        let draft = || {
            let subject = format!("{} {} is there", manifest.product, manifest.version);
            let class = match manifest.class {
                PatchClass::OutOfCycle => {
                    "an out-of-cycle patch: it ends a risk that is not to wait for the next regular one"
                }
                PatchClass::Routine => "a routine release",
            };
            let text = format!("{bundle}, {class}. Its release notes say what it changes.");
            let actions = format!("Plan and approve it: suturectl rollout plan --bundle {bundle}");
            auto::draft(Kind::PatchAvailable, &bundle, (subject, text, actions), now)
        };
        let Self { notice, notice_key } = self;
        let of = (Kind::PatchAvailable, &bundle.product);
        let notice = notice.map(|with| auto::prepare(context, &with, of, draft)).transpose()?;
        Ok(Prepared { notice, key: notice_key, is_urgent: manifest.class == PatchClass::OutOfCycle })
    }
}

impl Prepared {
    /// Where others must sign first.
    pub(super) fn not_yet(&self, context: &mut Context<'_>) {
        auto::not_yet(context, self.notice.as_ref());
    }

    /// Once it is published.
    pub(super) async fn send(self, context: &mut Context<'_>, client: &mut Client) -> Outcome<Option<Published>> {
        match self.notice {
            Some(notice) => auto::tell(context, client, notice, &self.key).await.map(Some),
            None if self.is_urgent => {
                context.print.note(
                    "note: an out-of-cycle patch, and no notice was sent: `bundle publish DIR --notice auto` again, or suturectl \
                     notice publish FILE",
                );
                Ok(None)
            }
            None => Ok(None),
        }
    }
}
