//! `suturectl completions` and `suturectl man`: what shells and `man` know, made from the command line itself.
//!
//! Nothing in it tells when or where it was made: packages are to be the same wherever they are built.

use std::fs;
use std::path::PathBuf;

use clap::ValueEnum;
use clap_complete::{generate, shells};
use clap_mangen::Man as Renderer;
use serde::Serialize;
use serde_json::json;

use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files::{self, Access};
use crate::print::Printer;

/// `suturectl` is for users (man-pages(7)).
const SECTION: &str = "1";

/// The shells that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// For which shell
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub struct Man {
    /// The directory that gets them; it is made where it is missing
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

/// A page of the manual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The file's name: the command's, and the section.
    pub file: String,
    /// In the language of man(7).
    pub text: Vec<u8>,
}

#[derive(Debug, Serialize)]
struct Written {
    directory: PathBuf,
    pages: Vec<String>,
}

/// What a shell needs to complete a program's command lines.
pub fn completions(mut program: clap::Command, shell: Shell) -> Vec<u8> {
    let (name, mut script) = (program.get_name().to_owned(), Vec::new());
    match shell {
        Shell::Bash => generate(shells::Bash, &mut program, name, &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut program, name, &mut script),
        Shell::Fish => generate(shells::Fish, &mut program, name, &mut script),
    }
    script
}

/// `completions`: the script as a shell reads it, or as JSON with the shell's name.
pub fn complete(args: &Completions, program: clap::Command, print: &mut Printer<'_>) -> Outcome {
    let script = String::from_utf8_lossy(&completions(program, args.shell)).into_owned();
    let shell = args.shell.to_possible_value().map(|shell| shell.get_name().to_owned());
    print.script(&json!({ "shell": shell, "script": script }), &script)
}

/// A page for a program and each of its commands that is not hidden, in a section of the manual.
pub fn pages(program: clap::Command, section: &str) -> std::io::Result<Vec<Page>> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let source = format!("Suture {}", program.get_version().unwrap_or_default());
    let (mut pages, mut rest) = (Vec::new(), vec![program]);
    while let Some(command) = rest.pop() {
        rest.extend(command.get_subcommands().filter(|c| !c.is_hide_set()).cloned());
        pages.push(page(command, section, &source)?);
    }
    pages.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(pages)
}

fn page(command: clap::Command, section: &str, source: &str) -> std::io::Result<Page> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let is_group = command.has_subcommands();
    let mut text = Vec::new();
    // No date: a page is the same whenever it was made. Without a word in its place the next would stand there.
    Renderer::new(command)
        .title(name.to_uppercase())
        .section(section)
        .date(" ")
        .source(source)
        .manual("Suture")
        .render(&mut text)?;
    // What stands below a command's help is its examples, line by line; below a program's, its exit codes.
    let heading = if is_group { ".SH NOTES\n.nf\n" } else { ".SH EXAMPLES\n.nf\n" };
    let text =
        String::from_utf8_lossy(&text).replace(".SH EXTRA\n", heading).replace(".SH VERSION\n", ".fi\n.SH VERSION\n");
    Ok(Page { file: format!("{name}.{section}"), text: text.into_bytes() })
}

/// Writes the pages of `program`.
pub fn run(args: Man, program: clap::Command, print: &mut Printer<'_>) -> Outcome {
    let Man { out: directory } = args;
    let pages = pages(program, SECTION).or_fail(|| "cannot write the manual".to_owned())?;
    fs::create_dir_all(&directory).map_err(|e| {
        Failure::new(format!("cannot make {}", directory.display()))
            .because(&e)
            .next("name another directory with -o DIR")
    })?;
    for Page { file, text } in &pages {
        files::write(&directory.join(file), text, Access::Public)?;
    }
    let written = Written { directory, pages: pages.into_iter().map(|p| p.file).collect() };
    print.result(&written, |w| format!("{} pages in {}", w.pages.len(), w.directory.display()))
}
