//! The tasks, who can hold one, and the usual split.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::life::Stage;

/// Something that has to be done for a device's security.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Configure securely, and say how.
    Configure,
    /// Put it into the network, and keep it apart there.
    Integrate,
    /// Watch its network traffic.
    MonitorTraffic,
    /// Watch who uses it.
    MonitorAccess,
    /// Keep its logs and look at them.
    MonitorEvents,
    /// Watch for vulnerabilities in what it is made of.
    MonitorVulnerabilities,
    /// Tell the other side of them.
    Communicate,
    /// Test its security.
    TestSecurity,
    /// Make patches, and test them.
    MakePatches,
    /// Apply patches.
    ApplyPatches,
    /// Respond to events.
    RespondToEvents,
    /// Back up and recover.
    Recover,
    /// Assess the risk.
    AssessRisk,
    /// Keep the records up to date: components, settings, where it stands.
    Document,
    /// Take it out of use.
    Decommission,
}

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// The manufacturer.
    Manufacturer,
    /// The provider: the hospital.
    Provider,
    /// Both, and the manufacturer leads.
    SharedManufacturer,
    /// Both, and the provider leads.
    SharedProvider,
}

use Holder::{Manufacturer, Provider, SharedManufacturer, SharedProvider};

impl Task {
    /// All, in the order in which a table lists them.
    pub const ALL: &[Self] = &[
        Self::Configure,
        Self::Integrate,
        Self::MonitorTraffic,
        Self::MonitorAccess,
        Self::MonitorEvents,
        Self::MonitorVulnerabilities,
        Self::Communicate,
        Self::TestSecurity,
        Self::MakePatches,
        Self::ApplyPatches,
        Self::RespondToEvents,
        Self::Recover,
        Self::AssessRisk,
        Self::Document,
        Self::Decommission,
    ];

    /// The name in documents and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Integrate => "integrate",
            Self::MonitorTraffic => "monitor-traffic",
            Self::MonitorAccess => "monitor-access",
            Self::MonitorEvents => "monitor-events",
            Self::MonitorVulnerabilities => "monitor-vulnerabilities",
            Self::Communicate => "communicate",
            Self::TestSecurity => "test-security",
            Self::MakePatches => "make-patches",
            Self::ApplyPatches => "apply-patches",
            Self::RespondToEvents => "respond-to-events",
            Self::Recover => "recover",
            Self::AssessRisk => "assess-risk",
            Self::Document => "document",
            Self::Decommission => "decommission",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Task {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|task| task.as_str() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|task| task.as_str()).collect();
            format!("{text:?} is no task; the tasks are {}", names.join(", "))
        })
    }
}

impl Holder {
    /// All of them.
    pub const ALL: [Self; 4] = [Manufacturer, Provider, SharedManufacturer, SharedProvider];

    /// The name in documents and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Manufacturer => "manufacturer",
            Provider => "provider",
            SharedManufacturer => "shared-manufacturer",
            SharedProvider => "shared-provider",
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Holder {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|holder| holder.as_str() == text).ok_or(
            "a task is done by the `manufacturer`, the `provider`, or by both: `shared-manufacturer` where the manufacturer \
             leads, `shared-provider` where the provider does",
        )
    }
}

/// Who usually does it (IMDRF N60 and N70, figure 2; Health-ISAC, distribution of tasks over the life cycle).
///
/// | stage | what moves |
/// | --- | --- |
/// | development | all is the manufacturer's |
/// | support | the provider watches access, events and its network, and applies what the manufacturer makes; the manufacturer goes on watching traffic, and leads where both respond and recover |
/// | limited support | not everything is patched any more: the provider watches traffic, and leads where both respond, recover and assess |
/// | end of support | all is the provider's; the manufacturer still tells of severe risks that it learns of |
pub const fn usual(task: Task, stage: Stage) -> Holder {
    let [support, limited, ended] = match task {
        Task::Configure => [SharedManufacturer, SharedProvider, Provider],
        Task::Integrate | Task::MonitorAccess | Task::MonitorEvents | Task::ApplyPatches | Task::Decommission => {
            [Provider, Provider, Provider]
        }
        Task::MonitorTraffic => [SharedManufacturer, Provider, Provider],
        Task::MonitorVulnerabilities => [Manufacturer, SharedManufacturer, SharedProvider],
        Task::Communicate => [Manufacturer, Manufacturer, SharedManufacturer],
        Task::TestSecurity | Task::MakePatches => [Manufacturer, SharedManufacturer, Provider],
        Task::RespondToEvents | Task::Recover | Task::AssessRisk => [SharedManufacturer, SharedProvider, Provider],
        Task::Document => [SharedManufacturer, SharedManufacturer, Provider],
    };
    match stage {
        Stage::Development => Manufacturer,
        Stage::Support => support,
        Stage::LimitedSupport => limited,
        Stage::EndOfSupport => ended,
    }
}
