//! How far a transfer got, where its bytes came from, and what was spared: the same sentence for all who ask.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A bundle on its way to a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Bytes of the bundle's payloads.
    pub total_bytes: u64,
    /// Of these, there and verified.
    pub present_bytes: u64,
    /// Of these, found in slot a.
    pub slot_a_bytes: u64,
    /// Of these, found in slot b.
    pub slot_b_bytes: u64,
    /// Of these, made by deltas.
    pub delta_made_bytes: u64,
    /// Of these, unpacked from chunks that came.
    pub chunk_made_bytes: u64,
    /// What came over the network as deltas.
    pub delta_bytes: u64,
    /// What came over the network as chunks, in stored form.
    pub chunk_bytes: u64,
    /// What comes in a second just now; 0 where nothing is on its way.
    pub bytes_per_sec: u64,
    /// Seconds until all is there, at that pace; 0 where that is not known.
    pub left_secs: u64,
    /// Whether a delta that is being made is waited for.
    pub waits_for_delta: bool,
    /// As many of the hospital's devices as may fetch at once do so, and this one stands in line.
    pub in_line: bool,
}

/// Where all bytes of a bundle came from: what a device signs once it has them. The fields are those of [`Progress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// Bytes of the bundle's payloads.
    pub total_bytes: u64,
    /// Of these, found in slot a.
    pub slot_a_bytes: u64,
    /// Of these, found in slot b.
    pub slot_b_bytes: u64,
    /// Of these, made by deltas.
    pub delta_made_bytes: u64,
    /// Of these, unpacked from chunks that came.
    pub chunk_made_bytes: u64,
    /// What came over the network as deltas.
    pub delta_bytes: u64,
    /// What came over the network as chunks, in stored form.
    pub chunk_bytes: u64,
}

impl Sources {
    /// Of a bundle that is there as a whole.
    pub fn of(progress: &Progress) -> Option<Self> {
        let Progress { total_bytes, present_bytes, slot_a_bytes, slot_b_bytes, .. } = *progress;
        let Progress { delta_made_bytes, chunk_made_bytes, delta_bytes, chunk_bytes, .. } = *progress;
        (total_bytes > 0 && present_bytes == total_bytes).then_some(Self {
            total_bytes,
            slot_a_bytes,
            slot_b_bytes,
            delta_made_bytes,
            chunk_made_bytes,
            delta_bytes,
            chunk_bytes,
        })
    }
}

/// The transfer as it ended.
impl From<Sources> for Progress {
    fn from(sources: Sources) -> Self {
        let Sources { total_bytes, slot_a_bytes, slot_b_bytes, .. } = sources;
        let Sources { delta_made_bytes, chunk_made_bytes, delta_bytes, chunk_bytes, .. } = sources;
        Self {
            total_bytes,
            present_bytes: total_bytes,
            slot_a_bytes,
            slot_b_bytes,
            delta_made_bytes,
            chunk_made_bytes,
            delta_bytes,
            chunk_bytes,
            ..Self::default()
        }
    }
}

impl Progress {
    /// What came over the network.
    pub const fn came_bytes(&self) -> u64 {
        self.delta_bytes.saturating_add(self.chunk_bytes)
    }

    /// What is there from an earlier run of the agent, whatever that had it from.
    pub const fn kept_bytes(&self) -> u64 {
        let known = self.slot_a_bytes.saturating_add(self.slot_b_bytes);
        let made = self.delta_made_bytes.saturating_add(self.chunk_made_bytes);
        self.present_bytes.saturating_sub(known.saturating_add(made))
    }
}

/// `12.1 MB of 447 MB: 96 % from slot a, 2.1 MB of deltas, 10 MB of chunks`; while it goes on, with what is there, the rate
/// and the time left. Nothing where there is no transfer.
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total_bytes == 0 {
            return Ok(());
        }
        write!(f, "{} of {}", size(self.came_bytes()), size(self.total_bytes))?;
        let shares = [
            (self.kept_bytes(), "from an earlier try"),
            (self.slot_a_bytes, "from slot a"),
            (self.slot_b_bytes, "from slot b"),
        ];
        let shares =
            shares.iter().filter(|(bytes, _)| *bytes > 0).map(|(bytes, what)| format!("{} {what}", self.share(*bytes)));
        let came = [(self.delta_bytes, "of deltas"), (self.chunk_bytes, "of chunks")];
        let came = came.iter().filter(|(bytes, _)| *bytes > 0).map(|(bytes, what)| format!("{} {what}", size(*bytes)));
        let parts: Vec<String> = shares.chain(came).collect();
        if !parts.is_empty() {
            write!(f, ": {}", parts.join(", "))?;
        }
        if self.present_bytes < self.total_bytes {
            write!(f, "; {} there", self.share(self.present_bytes))?;
            if self.in_line {
                f.write_str(", stands in line")?;
            } else if self.waits_for_delta {
                f.write_str(", waits for a delta that is being made")?;
            } else if self.bytes_per_sec > 0 {
                write!(f, ", {}/s", size(self.bytes_per_sec))?;
                if self.left_secs > 0 {
                    write!(f, ", {} left", time(self.left_secs))?;
                }
            }
        }
        Ok(())
    }
}

impl Progress {
    /// A share of all; all only where nothing is missing.
    fn share(&self, bytes: u64) -> String {
        match bytes.saturating_mul(100).checked_div(self.total_bytes) {
            None => String::new(),
            Some(0) if bytes > 0 => "under 1 %".to_owned(),
            Some(percent) => format!("{} %", percent.min(100)),
        }
    }
}

/// Bytes for people, in decimal units, with one digit behind the point below a hundred.
pub fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    for (unit, name) in units {
        if bytes >= unit {
            let (whole, tenths) = (bytes / unit, bytes % unit * 10 / unit);
            return if whole >= 100 || tenths == 0 {
                format!("{whole} {name}")
            } else {
                format!("{whole}.{tenths} {name}")
            };
        }
    }
    format!("{bytes} bytes")
}

/// A time for people.
fn time(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{} min", secs.div_ceil(60)),
        _ => format!("{} h {} min", secs / 3_600, secs % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_where_every_byte_came_from() {
        let mut progress = Progress {
            total_bytes: 447_000_000,
            present_bytes: 447_000_000,
            slot_a_bytes: 430_000_000,
            delta_made_bytes: 5_000_000,
            chunk_made_bytes: 12_000_000,
            delta_bytes: 2_100_000,
            chunk_bytes: 10_000_000,
            ..Progress::default()
        };
        let whole = "12.1 MB of 447 MB: 96 % from slot a, 2.1 MB of deltas, 10 MB of chunks";
        assert_eq!(progress.to_string(), whole);
        assert_eq!(Sources::of(&progress).map(Progress::from), Some(progress));
        progress.present_bytes = 440_000_000;
        assert_eq!(Sources::of(&progress), None);
        assert_eq!(progress.to_string(), format!("{whole}; 98 % there"));
        (progress.bytes_per_sec, progress.left_secs) = (250_000, 61);
        assert_eq!(progress.to_string(), format!("{whole}; 98 % there, 250 kB/s, 2 min left"));
        progress.waits_for_delta = true;
        assert_eq!(progress.to_string(), format!("{whole}; 98 % there, waits for a delta that is being made"));
        progress.in_line = true;
        assert_eq!(progress.to_string(), format!("{whole}; 98 % there, stands in line"));
        assert_eq!(Progress::default().to_string(), "");
        let begun = Progress { total_bytes: 1_500, ..Progress::default() };
        assert_eq!(begun.to_string(), "0 bytes of 1.5 kB; 0 % there");
    }

    #[test]
    fn what_nobody_accounts_for_is_from_an_earlier_try() {
        let progress = Progress {
            total_bytes: 1_000_000,
            present_bytes: 1_000_000,
            slot_b_bytes: 600_000,
            delta_made_bytes: 1_000,
            delta_bytes: 70,
            ..Progress::default()
        };
        assert_eq!(progress.kept_bytes(), 399_000);
        assert_eq!(
            progress.to_string(),
            "70 bytes of 1 MB: 39 % from an earlier try, 60 % from slot b, 70 bytes of deltas"
        );
        // What was counted twice, because it was damaged in between, is no negative number.
        assert_eq!(Progress { present_bytes: 5, ..progress }.kept_bytes(), 0);
    }

    #[test]
    fn sizes_and_times_are_for_people() {
        let sizes = [0, 999, 1_000, 1_050, 1_100, 99_900, 100_900, 1_000_000, u64::MAX].map(size);
        let want = ["0 bytes", "999 bytes", "1 kB", "1 kB", "1.1 kB", "99.9 kB", "100 kB", "1 MB", "18446744073 GB"];
        assert_eq!(sizes, want);
        assert_eq!([59, 60, 3_599, 3_661].map(time), ["59 s", "1 min", "60 min", "1 h 1 min"]);
    }
}
