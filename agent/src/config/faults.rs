//! Faults of a configuration, gathered so that all are named at once.

use std::path::PathBuf;
use std::time::Duration;

use super::Command;

#[derive(Default)]
pub(super) struct Faults(pub(super) Vec<String>);

impl Faults {
    pub(super) fn add(&mut self, fault: impl Into<String>) {
        self.0.push(fault.into());
    }

    pub(super) fn table<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(format!("[{name}] is missing"));
        }
        value
    }

    pub(super) fn directory(&mut self, name: &str, value: Option<PathBuf>) -> Option<PathBuf> {
        if value.is_none() {
            self.add(format!("{name} is missing"));
        }
        self.absolute(name, value?)
    }

    pub(super) fn absolute(&mut self, name: &str, path: PathBuf) -> Option<PathBuf> {
        if path.is_absolute() {
            return Some(path);
        }
        self.add(format!("{name} is {:?}; it must be an absolute path", path.display().to_string()));
        None
    }

    pub(super) fn id<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        name: &str,
        value: Option<String>,
    ) -> Option<T> {
        let Some(value) = value else {
            self.add(format!("{name} is missing"));
            return None;
        };
        value.parse().map_err(|e| self.add(format!("{name}: {e}"))).ok()
    }

    pub(super) fn within(&mut self, name: &str, value: Option<u64>, default: u64, least: u64, most: u64) -> u64 {
        let value = value.unwrap_or(default);
        if !(least..=most).contains(&value) {
            self.add(format!("{name} is {value}; it must be {least} to {most}"));
        }
        value.clamp(least, most)
    }

    pub(super) fn secs(&mut self, name: &str, value: Option<u64>, default: u64, most: u64) -> Duration {
        Duration::from_secs(self.within(name, value, default, 1, most))
    }

    pub(super) fn command(&mut self, table: &str, argv: Vec<String>, timeout: Duration) -> Option<Command> {
        match argv.first().map(String::as_str) {
            None | Some("") => {
                self.add(format!("{table}.command is empty; it names a program and its arguments"));
                None
            }
            Some(_) => Some(Command { argv, timeout }),
        }
    }
}
