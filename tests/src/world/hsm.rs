//! PKCS#11 tokens in software: SoftHSM2, as Debian packages it. Where it is missing the tests fail; they are not left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::World;
use super::device::text;

/// Where distributions put the module.
const MODULES: [&str; 2] = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"];
/// The PIN of every token here.
pub const PIN: &str = "271828";

/// Tokens of one test. SoftHSM2 learns from the environment where they are, so only a child process can be shown them.
#[derive(Debug, Clone)]
pub struct Hsm {
    dir: PathBuf,
}

/// A class of objects on a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Public keys.
    Public,
    /// Private keys.
    Private,
}

impl Hsm {
    /// No tokens yet.
    pub fn new(world: &World) -> Self {
        let dir = world.path("hsm");
        fs::create_dir_all(dir.join("tokens")).unwrap();
        let conf = format!("directories.tokendir = {}\nobjectstore.backend = file\n", dir.join("tokens").display());
        fs::write(dir.join("softhsm2.conf"), conf).unwrap();
        let hsm = Self { dir };
        hsm.write_pin(PIN);
        hsm
    }

    /// Makes a token with that label.
    pub fn token(&self, label: &str) {
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", label, "--so-pin", "31415926", "--pin", PIN])
            .envs(self.environment())
            .output();
        let made = made.unwrap_or_else(|e| panic!("softhsm2-util does not run ({e}): apt-get install softhsm2"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Puts a PIN into the file that `--pin-file` names.
    pub fn write_pin(&self, pin: &str) {
        fs::write(self.pin_file(), format!("{pin}\n")).unwrap();
    }

    /// The file with the PIN.
    pub fn pin_file(&self) -> PathBuf {
        self.dir.join("pin")
    }

    /// Deletes the halves of all keys, of every token.
    pub fn delete(&self, half: Half) {
        let class = match half {
            Half::Public => "CKO_PUBLIC_KEY",
            Half::Private => "CKO_PRIVATE_KEY",
        };
        let mut deleted = 0;
        for token in fs::read_dir(self.dir.join("tokens")).unwrap() {
            for file in fs::read_dir(token.unwrap().path()).unwrap() {
                let file = file.unwrap().path();
                if file.extension().is_none_or(|e| e != "object") {
                    continue;
                }
                let dump = Command::new("softhsm2-dump-file").arg(&file).output().unwrap();
                if String::from_utf8_lossy(&dump.stdout).contains(class) {
                    fs::remove_file(&file).unwrap();
                    deleted += 1;
                }
            }
        }
        assert_ne!(deleted, 0, "there was no {class} to delete");
    }

    /// Marks every private key so that its token wants the PIN for each signature, which `softhsm2-util` cannot do: in the
    /// objects' files an attribute is its type and kind, eight bytes each, and of a boolean one byte.
    pub fn mark_pin_each_time(&self) {
        const UNSET: [u8; 17] = [0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        let mut marked = 0;
        for token in fs::read_dir(self.dir.join("tokens")).unwrap() {
            for file in fs::read_dir(token.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let mut bytes = fs::read(&path).unwrap();
                if let Some(at) = bytes.windows(UNSET.len()).position(|window| window == UNSET) {
                    bytes[at + UNSET.len() - 1] = 1;
                    fs::write(&path, bytes).unwrap();
                    marked += 1;
                }
            }
        }
        assert_ne!(marked, 0, "there was no private key to mark");
    }

    /// Takes every token out, and gives what puts them back.
    pub fn unplug(&self) -> impl FnOnce() + use<> {
        let (there, away) = (self.dir.join("tokens"), self.dir.join("drawer"));
        fs::rename(&there, &away).unwrap();
        fs::create_dir(&there).unwrap();
        move || {
            fs::remove_dir(&there).unwrap();
            fs::rename(&away, &there).unwrap();
        }
    }

    /// What a program must be told in order to find the tokens.
    pub(super) fn environment(&self) -> [(&'static str, String); 3] {
        let module = MODULES.iter().find(|m| Path::new(m).is_file());
        let module = module.unwrap_or_else(|| panic!("there is none of {MODULES:?}: apt-get install softhsm2"));
        [
            ("SOFTHSM2_CONF", text(&self.dir.join("softhsm2.conf")).to_owned()),
            ("SUTURE_PKCS11_MODULE", (*module).to_owned()),
            ("SUTURE_PIN_FILE", text(&self.pin_file()).to_owned()),
        ]
    }
}
