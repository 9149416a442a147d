//! That the agent cannot write down what it is about to do, as on a disk that is full, failing, or can only be read.
//!
//! Nothing is begun then, and no file can say so. The check-in says it to the hospital, and the local face to whoever asks at
//! the device, as long as the agent runs. Rule 9.

use std::sync::{Mutex, PoisonError};

use suture_core::phase::Reason;

/// Why it cannot, as the loop found it at last; the local face reads it.
#[derive(Debug, Default)]
pub struct Unwritten(Mutex<Option<Reason>>);

impl Unwritten {
    /// Why it cannot write; none where it can, as far as it has tried.
    pub fn reason(&self) -> Option<Reason> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It cannot. Whether that is news: of the same kind it is not, whichever file was tried.
    pub fn found(&self, reason: Reason) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = kept.as_ref().is_none_or(|kept| kept.code != reason.code);
        *kept = Some(reason);
        is_news
    }

    /// It can. Whether that is news.
    pub fn over(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use suture_core::phase::Code;

    use super::*;

    #[test]
    fn it_is_news_once_and_its_end_is_too() {
        let unwritten = Unwritten::default();
        let reason = |code, text: &str| Reason::new(code, text);
        assert!(!unwritten.over());
        assert!(unwritten.found(reason(Code::DiskFull, "journal.json")));
        assert!(!unwritten.found(reason(Code::DiskFull, "live.json")));
        assert_eq!(unwritten.reason().unwrap().text, "live.json", "what was found last");
        assert!(unwritten.found(reason(Code::StateDamaged, "live.json")));
        assert!(unwritten.over() && !unwritten.over());
        assert_eq!(unwritten.reason(), None);
    }
}
