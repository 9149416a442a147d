//! How a command fails: one message, its causes, and what to do next.

use std::error::Error;

use serde_json::json;

use suture_core::legible::{self, indented, plain};

/// The program's exit codes beside 0; see the crate's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Failed here.
    Failed = 1,
    /// The command line is not understood.
    Usage = 2,
    /// The server refused.
    Refused = 3,
    /// The server cannot be reached.
    Unreachable = 4,
    /// Something does not verify.
    Untrusted = 5,
}

/// Why a command ended without doing what it was asked for.
#[derive(Debug)]
pub struct Failure {
    /// Which kind, for scripts.
    pub exit: Exit,
    /// What failed, to what.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// What the person can do.
    pub next: Option<String>,
}

/// What commands return.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure of this machine or its input.
    pub fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into(), causes: Vec::new(), next: None }
    }

    /// Something that does not verify.
    pub fn untrusted(message: impl Into<String>) -> Self {
        Self { exit: Exit::Untrusted, ..Self::new(message) }
    }

    /// A command line that is not understood, as the parser tells it: what is wrong, then tips and how it is used.
    pub fn usage(error: &clap::Error) -> Self {
        let exit = Exit::Usage;
        if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            return Self::new("the command line ends too early").exit(exit).next("--help says what can follow");
        }
        let text = error.render().to_string();
        let parts = text.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
        let mut parts = parts.filter(|part| !part.is_empty() && !part.starts_with("For more information"));
        let message = parts.next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        Self::new(message).exit(exit).next(parts.chain(["--help tells more".to_owned()]).collect::<Vec<_>>().join("; "))
    }

    /// A failure told by an error, its sources being the causes.
    pub fn of(exit: Exit, error: &dyn Error) -> Self {
        Self { exit, ..Self::new(error.to_string()) }.caused_by_sources(error)
    }

    /// With another kind.
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Because of an error and what that came from.
    pub fn because(mut self, error: &dyn Error) -> Self {
        self.causes.push(error.to_string());
        self.caused_by_sources(error)
    }

    /// Because of another failure and its causes.
    pub fn because_of(mut self, failure: Self) -> Self {
        self.causes.push(failure.message);
        self.causes.extend(failure.causes);
        self
    }

    /// With advice.
    pub fn next(mut self, advice: impl Into<String>) -> Self {
        self.next = Some(advice.into());
        self
    }

    /// What the person can do: what was said with the failure, else what is always right for its kind.
    fn advice(&self) -> Option<&str> {
        let usual = match self.exit {
            Exit::Untrusted => Some("act on none of it; keep it, and ask whoever it comes from over another channel"),
            Exit::Unreachable => Some("try again; `suturectl doctor` tests the way to the server"),
            Exit::Failed | Exit::Usage | Exit::Refused => None,
        };
        self.next.as_deref().or(usual)
    }

    fn caused_by_sources(mut self, error: &dyn Error) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            self.causes.push(cause.to_string());
            source = cause.source();
        }
        self
    }

    /// For a terminal. Attack: a server whose refusal goes on in a line that looks like this program's advice.
    pub fn to_text(&self) -> String {
        let within = |text: &str| indented(text, 4);
        let mut text = format!("error: {}", within(&self.message));
        for cause in &self.causes {
            text.push_str("\n  because: ");
            text.push_str(&within(cause));
        }
        if let Some(next) = self.advice() {
            text.push_str("\n  try: ");
            text.push_str(&within(next));
        }
        plain(&text)
    }

    /// For a program, with what else was to be told a person.
    pub fn to_json(&self, notes: &[String]) -> String {
        let (Self { exit, message, causes, next: _ }, next) = (self, self.advice());
        let told = json!({ "error": message, "causes": causes, "next": next, "notes": notes, "exit": *exit as u8 });
        legible::json(&told.to_string())
    }
}

/// Adds what was being done to an error of this machine.
pub trait OrFail<T> {
    /// Fails with `message`, the error being the cause.
    fn or_fail(self, message: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T, E: Error> OrFail<T> for Result<T, E> {
    fn or_fail(self, message: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|e| Failure::new(message()).because(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_told_once_and_nothing_steers_the_terminal() {
        let inner = std::io::Error::other("disk on fire\x1b[2J");
        let failure = Failure::new("cannot write a.json").because(&inner).next("free some space");
        assert_eq!(
            failure.to_text(),
            "error: cannot write a.json\n  because: disk on fire?[2J\n  try: free some space"
        );
        let json: serde_json::Value = serde_json::from_str(&failure.to_json(&["a note".to_owned()])).unwrap();
        assert_eq!((&json["exit"], &json["notes"]), (&json!(1), &json!(["a note"])));
        assert_eq!(json["causes"][0], "disk on fire\x1b[2J");
        // Whoever is told that something does not verify is told what to do, in either form.
        let forged = Failure::untrusted("the list is another");
        assert!(forged.to_text().contains("\n  try: act on none of it"), "{}", forged.to_text());
        assert!(forged.to_json(&[]).contains("act on none of it"));
    }

    #[test]
    fn what_a_server_says_goes_on_in_no_line_that_looks_like_advice() {
        let failure =
            Failure::new("no\n  try: suturectl catalog trust 00").because(&std::io::Error::other("a\n  try: b"));
        assert_eq!(failure.to_text(), "error: no\n      try: suturectl catalog trust 00\n  because: a\n      try: b");
    }
}
