//! Grades, in the words of ISO/TR 24971 and of FDA's postmarket guidance.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! grades {
    ($(#[$doc:meta])* $name:ident, $error:literal, { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All, in ascending order.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name in documents and on a terminal.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = &'static str;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|grade| grade.as_str() == text).ok_or($error)
            }
        }
    };
}

grades! {
    /// How often harm comes of it (ISO/TR 24971, table of probabilities).
    Likelihood, "a likelihood is `improbable`, `remote`, `occasional`, `probable` or `frequent`", {
        /// Not expected over the devices' life.
        Improbable = "improbable",
        /// Once, perhaps.
        Remote = "remote",
        /// Sometimes.
        Occasional = "occasional",
        /// Again and again.
        Probable = "probable",
        /// All the time.
        Frequent = "frequent",
    }
}

grades! {
    /// How bad the harm is (ISO/TR 24971, table of severities).
    Severity, "a severity is `negligible`, `minor`, `serious`, `critical` or `catastrophic`", {
        /// Inconvenience.
        Negligible = "negligible",
        /// Injury that needs no physician.
        Minor = "minor",
        /// Injury that needs one.
        Serious = "serious",
        /// Lasting impairment.
        Critical = "critical",
        /// Death.
        Catastrophic = "catastrophic",
    }
}

grades! {
    /// How easily it is exploited (FDA postmarket guidance 2016, VI.A).
    Exploitability, "an exploitability is `low`, `medium` or `high`", {
        /// It takes a person at the device, or much skill.
        Low = "low",
        /// It takes the device's network.
        Medium = "medium",
        /// From afar, by what is public.
        High = "high",
    }
}

grades! {
    /// What the hospital does about it.
    Treatment, "a risk is met by `acceptance`, `deferral` or `mitigation`", {
        /// It is lived with.
        Acceptance = "acceptance",
        /// Something is done later.
        Deferral = "deferral",
        /// Something is done now.
        Mitigation = "mitigation",
    }
}
