//! With which key the folder is signed, if with any.

use suture_core::id::OperatorName;
use suture_core::sign::Signer;
use suture_core::trust::{Role, Root};

use crate::context::Context;
use crate::evidence::{About, Files, seal};
use crate::failure::Outcome;
use crate::hospital::statements::{may_use, own_name};
use crate::keys::{KeyName, Keys};
use crate::repository::may_sign;

/// Which key signs it.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SigningArgs {
    /// The key that signs the index [default: `targets`, where this home has it and it is one of the party's]
    #[arg(long, value_name = "KEY")]
    sign: Option<KeyName>,
    /// Do not sign it
    #[arg(long, conflicts_with = "sign")]
    unsigned: bool,
}

/// Whoever vouches for the folder.
pub(super) struct Signing {
    name: OperatorName,
    key: Box<dyn Signer>,
}

impl Signing {
    /// This home's operator with the key that is named, or else with one of the party's, where there is one.
    pub(super) fn open(context: &mut Context<'_>, root: &Root, args: &SigningArgs) -> Outcome<Option<Self>> {
        if args.unsigned {
            return Ok(None);
        }
        let name = own_name(context)?;
        if let Some(named) = &args.sign {
            let key = context.key(named)?;
            may_sign(root, Role::Targets, &*key)?;
            may_use(context, root, &key.public())?;
            return Ok(Some(Self { name, key }));
        }
        let usual = KeyName::targets();
        let listed = |public: &_| root.authority(Role::Targets).keys().any(|key| key == public);
        match Keys::of(&context.home).public(&usual) {
            Ok(public) if listed(&public) && may_use(context, root, &public).is_ok() => {
                Ok(Some(Self { name, key: context.key(&usual)? }))
            }
            _ => {
                let note =
                    "note: the folder is not signed: this home has no key of the party's; `--sign KEY` names one";
                context.print.note(note);
                Ok(None)
            }
        }
    }

    /// Signs the folder's index.
    pub(super) fn sign(self, about: &About, files: &mut Files) -> Outcome {
        seal::sign(about, files, self.name, &*self.key)
    }
}
