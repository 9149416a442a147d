//! Waves as people write them: `--wave 1 --wave 10% --wave rest:signed`.

use std::str::FromStr;

use clap::Args;
use suture_core::approval::Wave;
use suture_core::plan::{WaveSize, WaveSpec};
use suture_core::window::parse_duration;

/// How a rollout goes from wave to wave.
#[derive(Debug, Clone, Args)]
pub(super) struct WaveArgs {
    /// Size of a wave: a number, a share like 10%, or `rest`; may be given several times [default: 1, then rest]. With
    /// `:signed` behind it, as in `rest:signed`, its devices begin only once the hospital has signed the wave open:
    /// `rollout open`. Such a gate does not trust the server, and stands before its wave, the first one too
    #[arg(long = "wave", value_name = "SIZE[:signed]")]
    asked: Vec<Asked>,
    /// Share of a wave, in percent, that must be confirmed before the next opens [default: 100]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    min_confirmed: Option<u32>,
    /// Devices of a wave that may fail or fall back before the rollout pauses itself [default: 0]
    #[arg(long, value_name = "N")]
    max_failures: Option<u32>,
    /// The same as a share of the wave, in percent: whichever is passed first pauses it [default: 100]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    max_failed_percent: Option<u32>,
    /// How long a wave must have stood before the next begins, as in 1h30m [default: 0s]
    #[arg(long, value_parser = soak)]
    soak: Option<u32>,
    /// Devices do not wait for the server's word: those that hear nothing go on, kept apart by their slots alone; a pause, or a
    /// wave that is shut, holds those that hear of it
    #[arg(long)]
    without_server: bool,
}

/// A wave, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    size: WaveSize,
    /// Whether it waits for the hospital's signature.
    signed: bool,
}

impl FromStr for Asked {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (text, signed) = text.strip_suffix(":signed").map_or((text, false), |size| (size, true));
        let number = |digits: &str| digits.parse::<u32>().ok().filter(|n| *n > 0);
        let size = match (text, text.strip_suffix('%')) {
            ("rest", _) => Some(WaveSize::Rest),
            (_, Some(digits)) => number(digits).filter(|p| *p <= 100).map(WaveSize::Percent),
            _ => number(text).map(WaveSize::Count),
        };
        let wrong = "a wave is a number of devices, a share like 10%, or `rest`, each perhaps with `:signed` behind it";
        size.map(|size| Self { size, signed }).ok_or_else(|| wrong.to_owned())
    }
}

fn soak(text: &str) -> Result<u32, String> {
    if text == "0s" { Ok(0) } else { parse_duration(text).map_err(|e| e.to_string()) }
}

impl WaveArgs {
    /// The waves; without any asked for, one device goes first.
    pub(super) fn specs(&self) -> Vec<WaveSpec> {
        self.specs_over(&[])
    }

    /// As [`WaveArgs::specs`], over waves that somebody has suggested: they are taken where none are asked for, and what is
    /// asked for of gates holds for all of them.
    pub(super) fn specs_over(&self, suggested: &[WaveSpec]) -> Vec<WaveSpec> {
        let usual = Wave {
            needs_server: true,
            needs_signature: false,
            min_confirmed_percent: 100,
            max_failures: 0,
            max_failed_percent: 100,
            soak_secs: 0,
        };
        let plain = |size, needs_signature| WaveSpec { size, gate: Wave { needs_signature, ..usual.clone() } };
        let waves = match (self.asked.as_slice(), suggested) {
            ([], []) => vec![plain(WaveSize::Count(1), false), plain(WaveSize::Rest, false)],
            ([], suggested) => suggested.to_vec(),
            (asked, _) => asked.iter().map(|Asked { size, signed }| plain(*size, *signed)).collect(),
        };
        let over = |gate: Wave| Wave {
            needs_server: gate.needs_server && !self.without_server,
            needs_signature: gate.needs_signature,
            min_confirmed_percent: self.min_confirmed.unwrap_or(gate.min_confirmed_percent),
            max_failures: self.max_failures.unwrap_or(gate.max_failures),
            max_failed_percent: self.max_failed_percent.unwrap_or(gate.max_failed_percent),
            soak_secs: self.soak.unwrap_or(gate.soak_secs),
        };
        waves.into_iter().map(|WaveSpec { size, gate }| WaveSpec { size, gate: over(gate) }).collect()
    }
}

/// The numbers of the waves that wait for the hospital's signature, counted from 1 as people count.
pub(super) fn gated<'a>(waves: impl IntoIterator<Item = &'a Wave>) -> Vec<u32> {
    (1..).zip(waves).filter(|(_, wave)| wave.needs_signature).map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        waves: WaveArgs,
    }

    fn specs(args: &[&str]) -> Result<Vec<WaveSpec>, clap::Error> {
        Line::try_parse_from([&["x"], args].concat()).map(|l| l.waves.specs())
    }

    #[test]
    fn one_device_goes_first_unless_told_otherwise() {
        let sizes = |args: &[&str]| specs(args).unwrap().into_iter().map(|w| w.size).collect::<Vec<_>>();
        assert_eq!(sizes(&[]), [WaveSize::Count(1), WaveSize::Rest]);
        assert_eq!(
            sizes(&["--wave", "2", "--wave", "10%", "--wave", "rest"]),
            [WaveSize::Count(2), WaveSize::Percent(10), WaveSize::Rest]
        );
        for bad in ["0", "0%", "101%", "all", "-1", "1.5", ":signed", "1:", "1:open", "1:signed:signed"] {
            assert!(specs(&["--wave", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wave_waits_for_a_signature_where_it_is_asked_to() {
        let asked = specs(&["--wave", "1:signed", "--wave", "10%", "--wave", "rest:signed"]).unwrap();
        assert_eq!(gated(asked.iter().map(|s| &s.gate)), [1, 3]);
        let sizes: Vec<_> = asked.iter().map(|s| s.size).collect();
        assert_eq!(sizes, [WaveSize::Count(1), WaveSize::Percent(10), WaveSize::Rest]);
        assert!(gated(specs(&[]).unwrap().iter().map(|s| &s.gate)).is_empty());
    }

    #[test]
    fn suggested_waves_are_taken_and_flags_override_them() {
        let suggested =
            specs(&["--wave", "2", "--wave", "rest:signed", "--soak", "2h", "--max-failures", "3"]).unwrap();
        let over = |args: &[&str]| Line::try_parse_from([&["x"], args].concat()).unwrap().waves.specs_over(&suggested);
        assert_eq!(over(&[]), suggested);
        let longer = over(&["--soak", "4h"]);
        assert!(longer.iter().all(|w| w.gate.soak_secs == 14_400 && w.gate.max_failures == 3), "{longer:?}");
        assert_eq!(longer.iter().map(|w| w.size).collect::<Vec<_>>(), [WaveSize::Count(2), WaveSize::Rest]);
        assert!(longer[1].gate.needs_signature);
        let own = over(&["--wave", "rest"]);
        assert_eq!((own.len(), own[0].gate.max_failures, own[0].gate.needs_signature), (1, 0, false));
    }

    #[test]
    fn gates_take_their_flags_and_trust_the_server_by_default() {
        let gate = specs(&["--soak", "1h", "--min-confirmed", "90", "--max-failures", "2"]).unwrap().remove(0).gate;
        assert_eq!(
            gate,
            Wave {
                needs_server: true,
                needs_signature: false,
                min_confirmed_percent: 90,
                max_failures: 2,
                max_failed_percent: 100,
                soak_secs: 3_600
            }
        );
        assert!(!specs(&["--without-server"]).unwrap().remove(0).gate.needs_server);
        assert!(specs(&["--min-confirmed", "101"]).is_err());
        assert!(specs(&["--soak", "soon"]).is_err());
    }
}
