//! `suturectl reasons`: what a code means, whose word it is, whether the same try can succeed later, and what to do; asked of
//! the program alone, since nights on which one asks are nights on which servers are down.

use serde::Serialize;
use suture_core::phase::Code;
use suture_core::phase::Reason;

use crate::failure::{Failure, Outcome};
use crate::print::{Printer, Table};
use crate::why::{About, Remedy, Word};

/// Arguments of `reasons`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A code or a part of one, as `device why`, `rollout why`, reports and `suture-agent why` show it
    code: Option<String>,
}

/// All that is known of a code.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Explained {
    pub(crate) code: Code,
    pub(crate) meaning: &'static str,
    pub(crate) word: Word,
    /// An attempt that failed for it is over: the same approval tries no more.
    pub(crate) for_good: bool,
    #[serde(flatten)]
    pub(crate) remedy: Remedy,
}

impl Explained {
    /// What is known of that code.
    pub(crate) fn of(code: Code) -> Self {
        let remedy = About::default().remedy(&Reason::new(code, ""));
        Self { code, meaning: code.meaning(), word: word(code), for_good: code.is_permanent(), remedy }
    }

    fn text(&self) -> String {
        let Self { code, meaning, word, for_good, remedy } = self;
        let lasts = if *for_good {
            "for good: a try that failed for it is not repeated by the same approval"
        } else {
            "not for good: it is looked at, or tried, again"
        };
        format!(
            "{code}: {meaning}\n  whose word  {}\n  lasts       {lasts}\n  to do       {}\n",
            word.worth(),
            remedy.text()
        )
    }
}

/// Whose word a reason is. Every code stands here, so that a new one has to be thought about.
pub(crate) const fn word(code: Code) -> Word {
    match code {
        Code::NothingApproved
        | Code::UpToDate
        | Code::NotForThisDevice
        | Code::WrongHospital
        | Code::NotInCatalog
        | Code::Withdrawn
        | Code::WrongHardware
        | Code::WrongProduct
        | Code::Downgrade
        | Code::BelowFloor
        | Code::TooOldToStart
        | Code::KnownRisk
        | Code::DataFormat
        | Code::WrongInstaller
        | Code::TooManySteps
        | Code::ConflictingApprovals
        | Code::NoCalendar
        | Code::NoOpening
        | Code::PastDeadline
        | Code::BeforeSlot
        | Code::SlotsOver
        | Code::StopOrder
        | Code::Superseded
        | Code::SignatureNeeded
        | Code::UnusableBundle => Word::Signed,
        Code::RunningUnknown
        | Code::OtherRelease
        | Code::AttemptsSpent
        | Code::RetryWait
        | Code::SlotTooShort
        | Code::ServerUnreachable
        | Code::PersonNeeded
        | Code::InUse
        | Code::InterlockUnknown
        | Code::ClockUnproven
        | Code::MetadataExpired
        | Code::Rollback
        | Code::MixAndMatch
        | Code::BadSignature
        | Code::BadMetadata
        | Code::EndlessData
        | Code::WrongBytes
        | Code::Power
        | Code::DiskFull
        | Code::Transfer
        | Code::InstallFailed
        | Code::RestartFailed
        | Code::StartFailed
        | Code::HealthFailed
        | Code::ReturnToService
        | Code::Returned
        | Code::Unfit
        | Code::Deferred
        | Code::HeldHere
        | Code::Drift
        | Code::RecordRewritten
        | Code::Departed
        | Code::StateDamaged => Word::Device,
        Code::Paused
        | Code::Aborted
        | Code::WaveClosed
        | Code::WardBusy
        | Code::InLine
        | Code::QuietHours
        | Code::Pending
        | Code::TimedOut
        | Code::FailureCeiling
        | Code::Operator
        | Code::Unknown => Word::Server,
    }
}

/// The codes that a person may mean: the one of that name, else those that it is a part of. What stands around a code where
/// it is shown is no part of it: `fell_back(disk-full)`, `disk-full: 734 MB are needed`.
fn meant(text: &str) -> Vec<Code> {
    let name = text.rsplit('(').next().unwrap_or_default().split([')', ':']).next().unwrap_or_default().trim();
    let all = || Code::ALL.iter().copied();
    match all().find(|code| code.as_str() == name) {
        Some(code) => vec![code],
        None if name.is_empty() => Vec::new(),
        None => all().filter(|code| code.as_str().contains(name)).collect(),
    }
}

/// Explains.
pub fn run(args: &Args, print: &mut Printer<'_>) -> Outcome {
    let Some(asked) = &args.code else {
        let all: Vec<_> = Code::ALL.iter().copied().map(Explained::of).collect();
        return print.result(&all, |all| {
            let mut table = Table::new(["CODE", "WORD", "MEANING"]);
            for e in all {
                table.row([e.code.to_string(), e.word.as_str().to_owned(), e.meaning.to_owned()]);
            }
            table.to_text()
        });
    };
    let found: Vec<_> = meant(asked).into_iter().map(Explained::of).collect();
    if found.is_empty() {
        let failure = Failure::new(format!("no reason is called {asked:?}"));
        return Err(failure.next("`suturectl reasons` lists all of them; a newer program may know more"));
    }
    print.result(&found, |found| found.iter().map(Explained::text).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests;
