//! Ranges of versions, `vers:deb/>=3.0.2|<3.0.8`, and the orders of versions behind them: a line with a range, then versions.

use suture_core::exposure::{Range, Scheme};
use suture_core::limits::MAX_RANGE_BYTES;

/// The whole is text.
pub(crate) fn hold(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let line = lines.next().unwrap_or_default();
    let versions: Vec<&str> = lines.take(4).collect();
    for scheme in [Scheme::Semver, Scheme::Deb, Scheme::Rpm, Scheme::Generic] {
        total(scheme, &versions);
    }
    let range = match line.parse::<Range>() {
        Ok(range) => range,
        Err(fault) => return assert!(!fault.to_string().contains('\n'), "a fault is one line"),
    };
    assert!(line.len() <= MAX_RANGE_BYTES);
    let written = range.to_string();
    let again: Range = written.parse().expect("what was written can be read");
    assert!(again == range && again.to_string() == written, "{written}");
    for version in versions {
        assert_eq!(again.contains(version), range.contains(version), "{version} in {written}");
    }
}

/// Whoever sorts by it gets the same each time.
fn total(scheme: Scheme, versions: &[&str]) {
    for a in versions {
        assert!(scheme.compare(a, a).is_eq(), "{a:?} is not itself");
        for b in versions {
            assert_eq!(scheme.compare(a, b), scheme.compare(b, a).reverse(), "{a:?} {b:?}");
            for c in versions {
                if scheme.compare(a, b).is_le() && scheme.compare(b, c).is_le() {
                    assert!(scheme.compare(a, c).is_le(), "{a:?} {b:?} {c:?}");
                }
            }
        }
    }
}
