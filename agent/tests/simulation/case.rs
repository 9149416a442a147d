//! One case: what decides everything that happens in it, in a form that can be typed.

use std::fmt;
use std::str::FromStr;

/// What may go wrong, each with its letter in the text of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Power is cut, at any step.
    Power,
    /// Devices are out of reach for a while.
    Offline,
    /// Devices are in clinical use.
    Use,
    /// Install or way back take longer than their budgets.
    Slow,
    /// A version does not prove its health, or a restart or the way back fails.
    Health,
    /// Devices' clocks are wrong.
    Clock,
    /// Bytes rot on the disk, transfers break.
    Bytes,
    /// The interlock does not answer.
    Interlock,
    /// Reports come late and twice, answers to them get lost.
    Late,
    /// People pause, stop, abort, withdraw, and do not do what is waited for.
    People,
}

impl Fault {
    pub(crate) const ALL: [Self; 10] = [
        Self::Power,
        Self::Offline,
        Self::Use,
        Self::Slow,
        Self::Health,
        Self::Clock,
        Self::Bytes,
        Self::Interlock,
        Self::Late,
        Self::People,
    ];

    const fn letter(self) -> char {
        match self {
            Self::Power => 'p',
            Self::Offline => 'o',
            Self::Use => 'u',
            Self::Slow => 's',
            Self::Health => 'h',
            Self::Clock => 'c',
            Self::Bytes => 'b',
            Self::Interlock => 'i',
            Self::Late => 'l',
            Self::People => 'q',
        }
    }
}

/// Faults that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Faults(u16);

impl Faults {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self((1 << Fault::ALL.len()) - 1);

    pub(crate) const fn may(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u16 != 0
    }

    pub(crate) const fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u16))
    }
}

/// Who the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// It keeps to the rules.
    Honest,
    /// It grants everything, opens every gate, and hides and replays what it likes.
    Hostile,
}

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) server: Server,
    pub(crate) seed: u64,
    /// About how many devices the hospital has.
    pub(crate) size: u32,
    pub(crate) faults: Faults,
}

impl Case {
    /// The case of a seed: most are small, one in fifty is large; one in eight knows no fault.
    pub(crate) fn of(server: Server, seed: u64) -> Self {
        let size = match seed % 50 {
            0 => 40,
            n if n < 10 => 12,
            n if n < 25 => 6,
            _ => 3,
        };
        let faults = if seed % 8 == 3 { Faults::NONE } else { Faults::ALL };
        Self { server, seed, size, faults }
    }

    /// Cases that are simpler than this one, the simplest first.
    pub(crate) fn simpler(self) -> impl Iterator<Item = Self> {
        let smaller = (1..self.size).filter(|size| *size < 8 || size % 8 == 0).map(move |size| Self { size, ..self });
        let fewer = Fault::ALL.into_iter().filter(move |f| self.faults.may(*f));
        smaller.chain(fewer.map(move |f| Self { faults: self.faults.without(f), ..self }))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = match self.server {
            Server::Honest => "honest",
            Server::Hostile => "hostile",
        };
        let letters: String =
            Fault::ALL.into_iter().filter(|fault| self.faults.may(*fault)).map(Fault::letter).collect();
        write!(f, "{server}-{}-{}-{letters}", self.seed, self.size)
    }
}

impl FromStr for Case {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no case like honest-17-6-pou: server, seed, size, letters of faults");
        let parts: Vec<_> = text.split('-').collect();
        let [server, seed, size, letters] = parts[..] else { return Err(bad()) };
        let server = match server {
            "honest" => Server::Honest,
            "hostile" => Server::Hostile,
            _ => return Err(bad()),
        };
        let left_out = |faults: Faults, f: Fault| if letters.contains(f.letter()) { faults } else { faults.without(f) };
        let faults = Fault::ALL.into_iter().fold(Faults::ALL, left_out);
        let case =
            Self { server, seed: seed.parse().map_err(|_| bad())?, size: size.parse().map_err(|_| bad())?, faults };
        if case.to_string() == text { Ok(case) } else { Err(bad()) }
    }
}
