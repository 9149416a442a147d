//! What a device is told. Pure.

use jiff::Timestamp;

use super::State;
use crate::clock::format_utc;
use crate::phase::{Code, Reason};

/// What a device in `wave` is told; `why` is the rollout's own reason for its state, `unsigned` that its wave waits for the
/// hospital's signature, where it does.
pub fn word(
    state: State,
    open_wave: u32,
    wave: u32,
    why: Option<&Reason>,
    unsigned: Option<Reason>,
) -> Result<(), Reason> {
    let told = |code, text: &str| {
        let text = why.map_or_else(|| text.to_owned(), |r| format!("{text}: {}", r.text));
        Err(Reason::new(code, text))
    };
    match state {
        State::Running if wave <= open_wave => unsigned.map_or(Ok(()), Err),
        State::Running => Err(Reason::new(
            Code::WaveClosed,
            format!("wave {} has not opened; wave {} is on", wave + 1, open_wave + 1),
        )),
        State::Paused => told(Code::Paused, "the rollout is paused"),
        State::Aborted => told(Code::Aborted, "the rollout is aborted"),
        State::Superseded => told(Code::Superseded, "another approval took its place"),
        State::Expired => told(Code::SlotsOver, "the approval has ended"),
        // Nobody was waited for any more, and nobody counts what a device would come to that began now.
        State::Complete => Err(Reason::new(
            Code::SlotsOver,
            "the rollout is complete and went on without this device; plan it anew, or a stop and its lift open it again",
        )),
    }
}

/// That a device's last slot is over by the server's clock. It knows that by itself, unless its clock is behind and nothing
/// that is signed proves that.
pub fn late(slots_end: Timestamp, now: Timestamp) -> Option<Reason> {
    let text = || format!("its last slot ended at {} by the server's clock; set the device's", format_utc(slots_end));
    (slots_end <= now).then(|| Reason::new(Code::SlotsOver, text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::waits;

    #[test]
    fn only_a_running_rollout_with_an_open_wave_lets_a_device_go() {
        for state in State::ALL {
            let goes = |unsigned| word(state, 3, 3, None, unsigned).is_ok();
            assert_eq!(goes(None), state == State::Running, "{state:?}");
            assert!(!goes(Some(waits(&"pump-2".parse().unwrap(), 3))), "{state:?}");
        }
    }

    #[test]
    fn a_wave_that_is_shut_a_pause_and_a_missing_signature_each_say_so() {
        assert_eq!(word(State::Paused, 0, 1, None, None).unwrap_err().code, Code::Paused);
        assert_eq!(word(State::Running, 0, 1, None, None).unwrap_err().code, Code::WaveClosed);
        let missing = waits(&"pump-2".parse().unwrap(), 0);
        assert_eq!(word(State::Running, 0, 0, None, Some(missing)).unwrap_err().code, Code::SignatureNeeded);
    }
}
