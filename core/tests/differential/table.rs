//! What came of the cases: for people, by edit and by reason.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Default)]
pub(super) struct Table {
    cases: u64,
    /// How often the last step was accepted by: us, Python, sigstore.
    accepted: [u64; 3],
    by_edit: BTreeMap<&'static str, [u64; 4]>,
    /// Why we refuse what both others accept.
    stricter: BTreeMap<String, (u64, u64)>,
}

impl Table {
    pub(super) fn count(&mut self, edits: &[&'static str], verdicts: [bool; 3]) {
        self.cases += 1;
        for (sum, accepted) in self.accepted.iter_mut().zip(verdicts) {
            *sum += u64::from(accepted);
        }
        for edit in edits {
            let row = self.by_edit.entry(edit).or_default();
            row[0] += 1;
            for (sum, accepted) in row.iter_mut().skip(1).zip(verdicts) {
                *sum += u64::from(accepted);
            }
        }
    }

    /// We refuse, both others accept.
    pub(super) fn count_stricter(&mut self, case: u64, reason: &str) {
        // Numbers, digests and names differ from case to case; what stands in the same place of the same sentence is one
        // reason.
        let reason: String = reason
            .split(' ')
            .map(|word| if word.contains(|c: char| c.is_ascii_digit()) { "#" } else { word })
            .collect::<Vec<_>>()
            .join(" ");
        self.stricter.entry(reason).or_insert((0, case)).0 += 1;
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ours, python, sigstore] = self.accepted;
        writeln!(f, "{} cases; accepted: ours {ours}, python {python}, sigstore {sigstore}", self.cases)?;
        writeln!(f, "\n| edit | cases | ours | python | sigstore |\n| --- | --- | --- | --- | --- |")?;
        for (edit, [cases, ours, python, sigstore]) in &self.by_edit {
            writeln!(f, "| {edit} | {cases} | {ours} | {python} | {sigstore} |")?;
        }
        writeln!(f, "\n| we refuse what both accept, because | cases | first |\n| --- | --- | --- |")?;
        for (reason, (count, first)) in &self.stricter {
            writeln!(f, "| {reason} | {count} | {first} |")?;
        }
        Ok(())
    }
}
