//! RAUC's own files over the cuts of the table: kept as the factory leaves them, and brought back for each case.

use std::fs;

use crate::rauc_stage::Stage;

/// What RAUC, its boot loader and its slots consist of; the last one is there once RAUC has written something.
const FILES: [&str; 7] = ["A.img", "B.img", "A.left", "B.left", "order", "boots", "status.raucs"];

impl Stage {
    /// Keeps them.
    pub(super) fn keep(&self) {
        for name in FILES {
            let kept = self.dir.join(format!("{name}.kept"));
            if self.dir.join(name).exists() {
                fs::copy(self.dir.join(name), kept).unwrap();
            }
        }
    }

    /// Brings them back. RAUC's service ends by that, and comes up with the device.
    pub(super) fn restore(&self) {
        if self.dir.join("pid").exists() {
            self.cut();
        }
        for name in FILES {
            let (file, kept) = (self.dir.join(name), self.dir.join(format!("{name}.kept")));
            if kept.exists() {
                fs::copy(kept, file).unwrap();
            } else if file.exists() {
                fs::remove_file(file).unwrap();
            }
        }
    }
}
