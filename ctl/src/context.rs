//! What every command is given: the home, the clock, where to print, where passphrases come from.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use suture_core::clock::{Clock, whole_second};
use suture_core::sign::Signer;
use suture_proto::connect::ProxyRules;

use crate::client::{Changed, Client};
use crate::failure::{Failure, Outcome};
use crate::home::Home;
use crate::keys::{KeyName, Keys, Passphrases, Pins};
use crate::print::{Format, Printer, Terminal, counted};

/// Flags that every command has.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// Where this operator's server, keys and trusted metadata are kept
    #[arg(long, global = true, env = "SUTURECTL_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub output: Format,
    /// Read the passphrase of a signing key from the first line of FILE
    #[arg(long, global = true, env = "SUTURE_PASSPHRASE_FILE", value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Read the PIN of a PKCS#11 token from the first line of FILE
    #[arg(long, global = true, env = "SUTURE_PIN_FILE", value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

/// What a command works with.
pub struct Context<'a> {
    /// Server, identity, keys, trusted metadata.
    pub home: Home,
    /// Results and notes.
    pub print: Printer<'a>,
    /// Opens signing keys in files.
    pub passphrases: Passphrases,
    /// Opens signing keys on tokens.
    pub pins: Pins,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The way out of this network.
    pub proxy: ProxyRules,
    /// How many letters wait, as the server says with its answers.
    pub unread: Unread,
    /// Whether this command has changed something of which the server's record tells.
    pub changed: Changed,
    /// What went wrong beside what was asked for.
    pub asides: Asides,
    /// Whether this command stops devices: then neither a server whose audit record is in doubt nor trouble with this home's own
    /// files is a reason not to send it.
    pub stops_devices: bool,
}

/// How many letters of the other side nobody has opened yet, as the server said last.
#[derive(Debug, Clone, Default)]
pub struct Unread(Arc<AtomicU64>);

impl Unread {
    /// What an answer says.
    pub fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// What the last one said.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a person is told once the command has ended: of places that print nothing.
#[derive(Debug, Clone, Default)]
pub struct Asides(Arc<Mutex<Vec<String>>>);

impl Asides {
    /// Keeps one, once.
    pub fn add(&self, note: String) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// Those that were kept.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<'a> Context<'a> {
    /// What the global flags and the environment say.
    pub fn open(
        global: Global,
        out: &'a mut (dyn Write + Send),
        err: &'a mut (dyn Write + Send),
        terminal: Option<Terminal>,
        clock: Arc<dyn Clock>,
    ) -> Outcome<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let directory = match global.home {
            Some(directory) => directory,
            None => default_home(variable)?,
        };
        Ok(Self {
            home: Home::open(&directory)?,
            print: Printer::new(out, err, global.output).on(terminal),
            passphrases: global.passphrase_file.into(),
            pins: global.pin_file.into(),
            clock,
            proxy: ProxyRules::from_env(variable),
            stops_devices: false,
            unread: Unread::default(),
            changed: Changed::default(),
            asides: Asides::default(),
        })
    }

    /// Now, to the second: the form that signed documents have.
    pub fn now(&self) -> Timestamp {
        whole_second(self.clock.now())
    }

    /// Fresh random bytes, for keys, secrets and ids.
    pub fn random<const N: usize>(&self) -> Outcome<[u8; N]> {
        let mut bytes = [0; N];
        getrandom::fill(&mut bytes).map_err(|e| Failure::new("the system gives no random bytes").because(&e))?;
        Ok(bytes)
    }

    /// The server, as this home's operator. Renews the certificate where that is due.
    pub async fn connect(&self) -> Outcome<Client> {
        // On the heap: it is part of every command's future.
        Box::pin(Client::connect(self)).await
    }

    /// Tells a person of letters that nobody has opened, where the server has said that there are some.
    pub fn tell_unread(&mut self) {
        let Ok(server) = self.home.server() else { return };
        let note = match (self.unread.count(), server.hdo().is_ok()) {
            (0, _) => return,
            (n, true) => {
                format!(
                    "note: {} to be read: suturectl notice list",
                    counted(n, "notice", "of the manufacturer's waits", "of the manufacturer's wait")
                )
            }
            (n, false) => {
                format!(
                    "note: {} to be read: suturectl report list",
                    counted(n, "report", "of a hospital's waits", "of hospitals wait")
                )
            }
        };
        self.print.note(&note);
    }

    /// A signing key, opened, wherever its private half is kept.
    pub fn key(&self, name: &KeyName) -> Outcome<Box<dyn Signer>> {
        Keys::of(&self.home).open(name, &self.passphrases, &self.pins)
    }
}

fn default_home(variable: impl Fn(&str) -> Option<String>) -> Outcome<PathBuf> {
    let set = |name| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("XDG_CONFIG_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".config")))
        .map(|config| config.join("suturectl"))
        .ok_or_else(|| Failure::new("neither HOME nor SUTURECTL_HOME is set").next("--home DIR"))
}
