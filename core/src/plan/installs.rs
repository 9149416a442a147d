//! What installs on a device, and the data that lie on it: whether a bundle can be installed there at all.
//!
//! A device refuses what is made for another installer, and what would lose its data, before it fetches a byte. A plan that knows
//! of it spares the slot. It is the device's word at its last check-in, brought by the server and signed by nobody: as with what
//! runs, a lie keeps a device out of a plan and never brings one in.

use serde::{Deserialize, Serialize};

use super::Bundle;
use crate::manifest::{Change, Data, InstallKind};
use crate::phase::{Code, Reason};

/// What a device says of what installs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installs {
    /// Its installer.
    pub by: InstallKind,
    /// The format of its own data, as the version that runs writes them; 0 where that does not say.
    pub data: u32,
    /// Whether it has a program that keeps a copy of them.
    pub keeps: bool,
}

impl Installs {
    /// Why the device would refuse one of these bundles, installed one after another. `says` is whose word it is.
    pub(super) fn refusal(&self, way: &[&Bundle], says: &str) -> Option<Reason> {
        let mut data = (self.data > 0).then(|| Data { format: self.data, reads: Vec::new() });
        for bundle in way {
            let name = bundle.name();
            if bundle.installer != self.by {
                let text =
                    format!("{says} that `{}` installs on it, and {name} is made for `{}`", self.by, bundle.installer);
                return Some(Reason::new(Code::WrongInstaller, text));
            }
            match Data::change(data.as_ref(), bundle.data.as_ref()) {
                Change::None => {}
                Change::Converted if self.keeps => {}
                Change::Converted => {
                    let text = format!(
                        "{says} that it keeps no copy of its own data, which {name} converts: its maker has to name a program in \
                         [data] of its agent's configuration"
                    );
                    return Some(Reason::new(Code::DataFormat, text));
                }
                Change::Lost { from } => {
                    let text = format!(
                        "{says} that its own data have format {from}, which {name} does not read: what was written since would \
                         be lost; ask the manufacturer"
                    );
                    return Some(Reason::new(Code::DataFormat, text));
                }
            }
            data.clone_from(&bundle.data);
        }
        None
    }
}
