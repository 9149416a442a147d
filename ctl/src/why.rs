//! What stands in the way, and what would meet it: the form in which `device why` and `rollout why` say it.

use jiff::Timestamp;
use serde::Serialize;
use suture_core::clock::{format_utc, utc};
use suture_core::id::{ApprovalId, DeviceId};
use suture_core::phase::{Code, Reason};

/// Whose word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// It follows from what was verified by a signature of the manufacturer's or the hospital's.
    Signed,
    /// A device has signed it.
    Device,
    /// The server says so, and nothing else does.
    Server,
}

impl Word {
    /// The name in JSON and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Device => "device",
            Self::Server => "server",
        }
    }

    /// What such a word is worth.
    pub const fn worth(self) -> &'static str {
        match self {
            Self::Signed => {
                "signed: it follows from what the manufacturer and the hospital have signed, and holds against any server"
            }
            Self::Device => "device: the device's own, in reports that it signs",
            Self::Server => "server: nobody has signed it; a server may say it, or keep it back, as it likes",
        }
    }
}

/// What would meet a condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "met_by", rename_all = "kebab-case")]
pub enum Remedy {
    /// Somebody types this.
    Command {
        /// The command.
        how: String,
    },
    /// Somebody does this.
    Person {
        /// Who and what.
        how: String,
    },
    /// It ends by itself at an instant.
    Time {
        /// What is waited for.
        how: String,
        /// When.
        #[serde(with = "utc")]
        at: Timestamp,
    },
    /// It ends by itself, nobody can say when.
    Itself {
        /// What is waited for.
        how: String,
    },
}

impl Remedy {
    /// For people.
    pub fn text(&self) -> String {
        match self {
            Self::Command { how } => format!("met by: {how}"),
            Self::Person { how } => format!("met when {how}"),
            Self::Time { how, at } => format!("met by itself at {}: {how}", format_utc(*at)),
            Self::Itself { how } => format!("met by itself: {how}"),
        }
    }
}

/// A condition that is not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmet {
    /// Whose word it is.
    pub by: Word,
    /// What is not met.
    #[serde(flatten)]
    pub reason: Reason,
    /// What would meet it.
    #[serde(flatten)]
    pub remedy: Remedy,
}

impl Unmet {
    /// A condition whose remedy follows from its code.
    pub fn new(by: Word, reason: Reason, of: &About<'_>) -> Self {
        Self { by, remedy: of.remedy(&reason), reason }
    }

    /// A condition with a remedy of its own.
    pub fn with(by: Word, reason: Reason, remedy: Remedy) -> Self {
        Self { by, reason, remedy }
    }
}

/// What conditions are about, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    /// The approval, and its rollout.
    pub approval: Option<&'a ApprovalId>,
    /// The device.
    pub device: Option<&'a DeviceId>,
}

impl About<'_> {
    /// What meets a reason, by its code: the command to type, who must do what, or that it ends by itself. Every code stands here, so that
    /// a new one has to be thought about.
    pub fn remedy(&self, reason: &Reason) -> Remedy {
        let rollout = self.approval.map_or_else(|| "ROLLOUT".to_owned(), ToString::to_string);
        let device = self.device.map_or_else(|| "DEVICE".to_owned(), ToString::to_string);
        let command = |how: String| Remedy::Command { how };
        let person = |how: &str| Remedy::Person { how: how.to_owned() };
        let itself = |how: &str| Remedy::Itself { how: how.to_owned() };
        let anew = || command(format!("suturectl rollout plan --bundle PRODUCT@RELEASE --device {device}"));
        match reason.code {
            Code::NothingApproved | Code::NotForThisDevice | Code::SlotsOver | Code::AttemptsSpent => anew(),
            Code::Superseded | Code::Aborted | Code::SlotTooShort | Code::Withdrawn => anew(),
            Code::TooManySteps | Code::PastDeadline | Code::OtherRelease | Code::RunningUnknown => anew(),
            Code::UpToDate | Code::Returned => itself("nothing is left to do"),
            Code::NotInCatalog | Code::WrongHardware | Code::WrongProduct | Code::TooOldToStart | Code::BelowFloor => {
                command("suturectl bundle list".to_owned())
            }
            Code::Downgrade => {
                command(format!("suturectl rollout plan --bundle PRODUCT@RELEASE --device {device} --permit-downgrade"))
            }
            Code::ConflictingApprovals => command("suturectl rollout plan ... --supersedes ROLLOUT".to_owned()),
            Code::KnownRisk | Code::DataFormat | Code::WrongInstaller | Code::Unfit => {
                person("the manufacturer has another version for it; then that is approved")
            }
            Code::NoCalendar | Code::NoOpening => command("suturectl calendar set WARD ...".to_owned()),
            Code::StopOrder => command(format!("suturectl rollout lift {rollout}")),
            Code::Paused | Code::FailureCeiling | Code::TimedOut | Code::Operator => command(format!(
                "suturectl rollout show {rollout}, then suturectl rollout resume {rollout} --reason TEXT"
            )),
            Code::SignatureNeeded => command(match reason.text.split('`').nth(1) {
                Some(how) if how.starts_with("suturectl rollout open") => how.to_owned(),
                _ => format!("suturectl rollout open {rollout} --wave N --reason TEXT"),
            }),
            Code::WaveClosed => command(format!("suturectl rollout why {rollout}")),
            Code::Pending => command(format!("suturectl device confirm {device} --fingerprint HEX")),
            Code::MetadataExpired => command(
                "suturectl catalog status, suturectl approvals status: which role has expired, and whose it is to sign"
                    .to_owned(),
            ),
            Code::BadSignature | Code::BadMetadata | Code::MixAndMatch | Code::Rollback | Code::EndlessData => {
                command("suturectl catalog status, suturectl approvals status: who signed what is served".to_owned())
            }
            Code::PersonNeeded => person("whoever is at the device confirms there: suture-agent confirm"),
            Code::ReturnToService => {
                let how = format!(
                    "somebody has checked the device: suture-agent release --checked --reason TEXT there, or suturectl device \
                     release {device} --reason TEXT"
                );
                Remedy::Person { how }
            }
            Code::HeldHere => person("whoever holds it at the device lets it go: suture-agent release --reason TEXT"),
            Code::Deferred => person(
                "somebody takes the device out of clinical use for its next slot, or sees to its interlock; nothing is forced",
            ),
            Code::InUse => itself("the device comes out of clinical use"),
            Code::InterlockUnknown => {
                person("whoever looks after the device sees to its interlock, which does not answer")
            }
            Code::ClockUnproven => person("whoever looks after the device sets its clock"),
            Code::DiskFull => person("whoever looks after the device makes room on its disk"),
            Code::StateDamaged => {
                person("whoever looks after the device goes there: its record cannot be read or written")
            }
            Code::Power => person("the device has mains, or a charged battery, in its slot"),
            Code::Drift => person("somebody takes it out of use by the hospital's rules, and calls its maker"),
            Code::RecordRewritten => person(
                "whoever runs the server has said why; then, with the agent stopped, suture-agent record --forget at the device",
            ),
            Code::Departed | Code::WrongHospital => person("it enrols anew where it is now"),
            Code::InstallFailed => itself("it is tried again in a later slot, while tries are left"),
            Code::RestartFailed | Code::StartFailed | Code::HealthFailed => {
                person("somebody finds out why, at the device or with the manufacturer; then it is approved anew")
            }
            Code::WrongBytes => itself(
                "it is fetched again; where it comes again and again, have the device's disk and the server looked at",
            ),
            Code::RetryWait => itself("the device waits between two tries, as long as was approved"),
            Code::WardBusy => itself("another device of the ward comes back into service"),
            Code::UnusableBundle => {
                command(format!("suturectl rollout abort {rollout} --reason TEXT, and tell the manufacturer"))
            }
            Code::ServerUnreachable => {
                itself("the device reaches the server; `suture-agent doctor` there says what hinders it")
            }
            Code::Transfer | Code::InLine => itself("the transfer goes on as the line allows"),
            Code::QuietHours => command("suturectl transfer show".to_owned()),
            Code::BeforeSlot => itself("its slot begins"),
            Code::Unknown => person("the older of the two programs is replaced"),
        }
    }
}

/// For people: numbered, each with its remedy below it.
pub fn lines(unmet: &[Unmet]) -> Vec<String> {
    let line =
        |(n, u): (usize, &Unmet)| format!("{}. [{}] {}\n     {}", n + 1, u.by.as_str(), u.reason, u.remedy.text());
    unmet.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_code_has_a_remedy_that_names_what_it_is_about() {
        let (approval, device) = ("pump-2".parse().unwrap(), "pump-1".parse().unwrap());
        let of = About { approval: Some(&approval), device: Some(&device) };
        for code in Code::ALL {
            let (Remedy::Command { how } | Remedy::Person { how } | Remedy::Itself { how } | Remedy::Time { how, .. }) =
                of.remedy(&Reason::new(*code, "so it is"));
            assert!(!how.is_empty() && !how.contains("ROLLOUT --"), "{code}: {how}");
        }
        let all = crate::Cli::command();
        for code in Code::ALL {
            let Remedy::Command { how } = of.remedy(&Reason::new(*code, "so it is")) else { continue };
            for typed in how.split("suturectl ").skip(1) {
                let mut words = typed.split([' ', ',', ':']);
                let group = words.next().and_then(|word| all.find_subcommand(word));
                let one = group.and_then(|group| group.find_subcommand(words.next()?));
                assert!(one.is_some(), "{code}: there is no suturectl {typed}");
            }
        }
        let waits = suture_core::approval::waits(&approval, 1);
        assert_eq!(
            of.remedy(&waits),
            Remedy::Command { how: "suturectl rollout open pump-2 --wave 2 --reason TEXT".to_owned() }
        );
        let stopped = of.remedy(&Reason::new(Code::StopOrder, "stopped"));
        assert_eq!(stopped, Remedy::Command { how: "suturectl rollout lift pump-2".to_owned() });
    }

    #[test]
    fn a_condition_is_told_with_whose_word_it_is_and_what_meets_it() {
        let at = "2026-11-25T02:00:00Z".parse().unwrap();
        let remedy = Remedy::Time { how: "its slot begins".to_owned(), at };
        let unmet = Unmet::with(Word::Signed, Reason::new(Code::BeforeSlot, "not yet"), remedy);
        assert_eq!(
            lines(std::slice::from_ref(&unmet)),
            ["1. [signed] before-slot: not yet\n     met by itself at 2026-11-25T02:00:00Z: its slot begins"]
        );
        let json = serde_json::to_value(&unmet).unwrap();
        let wanted = serde_json::json!({
            "by": "signed", "code": "before-slot", "text": "not yet", "met_by": "time", "how": "its slot begins",
            "at": "2026-11-25T02:00:00Z",
        });
        assert_eq!(json, wanted);
    }
}
