//! Where the manufacturer warns of an update: from some releases, on some hardware.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::HardwareId;
use crate::limits::{MAX_RISK_TEXT_BYTES, MAX_URL_BYTES};
use crate::version::{Release, ReleaseRange};

/// An update that the manufacturer warns of. No plan leads over it, and a device that has the manifest refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Risk {
    /// Where the update starts.
    pub from: ReleaseRange,
    /// On which hardware; none written: on all.
    #[serde(default)]
    pub hardware: Vec<HardwareId>,
    /// What happens, for people.
    pub text: String,
    /// Where the manufacturer says more; `https://`, or nothing.
    #[serde(default)]
    pub url: String,
}

impl Risk {
    /// Whether it is about an update from that release on that hardware.
    pub fn binds(&self, from: Release, hardware: &HardwareId) -> bool {
        self.from.contains(from) && (self.hardware.is_empty() || self.hardware.contains(hardware))
    }

    /// The first rule that does not hold, if one does not.
    pub(super) fn broken_rule(&self) -> Option<&'static str> {
        let plain = |text: &str| !text.chars().any(char::is_control);
        let url = &self.url;
        let link = url.is_empty() || url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty());
        let rules = [
            (self.hardware.len() <= 256, "a risk lists more than 256 hardware revisions"),
            (
                !self.text.trim().is_empty() && self.text.len() <= MAX_RISK_TEXT_BYTES,
                "a risk has no text, or one too long",
            ),
            (plain(&self.text), "a risk's text holds control characters"),
            (link && url.len() <= MAX_URL_BYTES, "a risk's url is not https://, or too long"),
            (plain(url) && !url.contains(' '), "a risk's url holds white space"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, rule)| rule)
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the manufacturer warns of this update: {}", self.text)?;
        if self.url.is_empty() { Ok(()) } else { write!(f, " ({})", self.url) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn risk() -> Risk {
        Risk {
            from: "1..3".parse().unwrap(),
            hardware: vec!["rev-b".parse().unwrap()],
            text: "the pump's alarm stays silent".to_owned(),
            url: "https://acme.example/fsn/12".to_owned(),
        }
    }

    #[test]
    fn a_risk_is_about_its_releases_on_its_hardware() {
        let on = |hardware: &str, from| risk().binds(Release(from), &hardware.parse().unwrap());
        let binds: Vec<bool> = (0..5).map(|from| on("rev-b", from)).collect();
        assert_eq!(binds, [false, true, true, true, false]);
        assert!(!on("rev-a", 2));
        assert!(Risk { hardware: vec![], ..risk() }.binds(Release(2), &"rev-a".parse().unwrap()));
        let text = risk().to_string();
        assert!(text.contains("stays silent (https://acme.example/fsn/12)"), "{text}");
    }

    #[test]
    fn a_warning_is_readable_and_links_to_nothing_odd() {
        assert_eq!(risk().broken_rule(), None);
        assert_eq!(Risk { url: String::new(), ..risk() }.broken_rule(), None);
        let long = |n: usize| "x".repeat(n);
        for (bad, rule) in [
            (Risk { text: "  ".to_owned(), ..risk() }, "no text"),
            (Risk { text: long(MAX_RISK_TEXT_BYTES + 1), ..risk() }, "no text"),
            (Risk { text: "a\u{1b}[2Jb".to_owned(), ..risk() }, "control"),
            (Risk { url: "http://acme.example".to_owned(), ..risk() }, "https"),
            (Risk { url: "https://".to_owned(), ..risk() }, "https"),
            (Risk { url: format!("https://{}", long(MAX_URL_BYTES)), ..risk() }, "https"),
            (Risk { url: "https://acme.example/a b".to_owned(), ..risk() }, "white space"),
            (Risk { url: "https://acme.example/\u{7}".to_owned(), ..risk() }, "white space"),
        ] {
            assert!(bad.broken_rule().is_some_and(|r| r.contains(rule)), "{bad:?}");
        }
    }
}
