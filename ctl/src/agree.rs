//! Asking a person at the terminal before something is signed that they have been shown.

use std::io::{IsTerminal as _, Write as _};

use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};

/// Asks a question to which only `yes` agrees. Not asked where `yes` is said already; `next` is what helps without a terminal.
///
/// # Errors
///
/// The answer is another, or there is nobody to ask. Nothing is signed then.
pub fn agree(context: &mut Context<'_>, question: &str, yes: bool, next: &str) -> Outcome {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new("nothing was signed: there is no terminal to ask at").next(next));
    }
    context.print.tell_kept();
    let mut terminal = std::io::stderr();
    let asked = write!(terminal, "{question} Type yes: ").and_then(|()| terminal.flush());
    asked.or_fail(|| "cannot ask at the terminal".to_owned())?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).or_fail(|| "cannot read the answer".to_owned())?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::new("nothing was signed, as you wished")) }
}
