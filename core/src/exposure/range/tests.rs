use std::cmp::Ordering;

use proptest::prelude::*;

use super::{Range, RangeError, Scheme};
use crate::limits::MAX_RANGE_BYTES;

fn range(text: &str) -> Range {
    text.parse().unwrap()
}

/// Ascending by the rule of each scheme; the rows are those of the specifications where they have any.
fn ascending() -> [(Scheme, Vec<&'static str>); 4] {
    [
        (
            Scheme::Semver,
            // semver.org, 11
            vec![
                "1.0.0-alpha",
                "1.0.0-alpha.1",
                "1.0.0-alpha.beta",
                "1.0.0-beta",
                "1.0.0-beta.2",
                "1.0.0-beta.11",
                "1.0.0-rc.1",
                "v1.0.0",
                "1.0.1",
                "1.9",
                "1.10.0+build",
                "2",
            ],
        ),
        (
            Scheme::Deb,
            // Debian Policy, 5.6.12, and what dpkg makes of the rest
            vec![
                "0.9",
                "1.0~~",
                "1.0~~a",
                "1.0~",
                "1.0~rc1",
                "1.0",
                "1.0-1",
                "1.0-1+deb12u1",
                "1.0-2",
                "1.0a",
                "1.0+b",
                "1.0.1",
                "1.1.1k-1",
                "1.1.1n-0+deb11u5",
                "1.10",
                "1:0.1",
                "10:0",
            ],
        ),
        (
            Scheme::Rpm,
            vec!["1.0~rc1-1", "1.0-1", "1.0-1.el9", "1.0-2", "1.0^git1-1", "1.0a-1", "1.0.1-1", "1.10-1", "1:0-1"],
        ),
        (
            Scheme::Generic,
            vec![
                "1.0-alpha",
                "1.0-beta",
                "1.0rc1",
                "1.0rc2",
                "1.0",
                "1.0a",
                "1.0.1",
                "1.1.1",
                "1.1.1k",
                "1.1.1n",
                "1.10",
                "2024.01",
            ],
        ),
    ]
}

#[test]
fn versions_stand_in_the_order_of_those_who_number_them() {
    for (scheme, versions) in ascending() {
        for (i, a) in versions.iter().enumerate() {
            for (j, b) in versions.iter().enumerate() {
                assert_eq!(scheme.compare(a, b), i.cmp(&j), "{scheme:?}: {a} and {b}");
            }
        }
    }
    for (scheme, a, b) in [
        (Scheme::Semver, "v1.2", "1.2.0+7"),
        (Scheme::Deb, "0:1.0", "1.0"),
        (Scheme::Deb, "1.01", "1.1"),
        (Scheme::Rpm, "1.0-1", "1_0-1"),
        (Scheme::Generic, "1.0-RC-1", "1.0rc1"),
    ] {
        assert_eq!(scheme.compare(a, b), Ordering::Equal, "{a} and {b}");
    }
}

#[test]
fn a_version_is_in_a_range_by_its_name_or_by_where_it_lies() {
    let held = |text: &str, versions: &[&'static str]| {
        let range = range(text);
        versions.iter().copied().filter(|v| range.contains(v)).collect::<Vec<_>>()
    };
    let all = ["0.9", "1.0.0", "1.2.3", "1.5.0-rc.1", "1.5.0", "2.0.0", "3.0.0"];
    assert_eq!(held("vers:npm/*", &all), all);
    assert_eq!(held("vers:npm/1.2.3", &all), ["1.2.3"]);
    assert_eq!(held("vers:npm/1.2.3|3.0.0", &all), ["1.2.3", "3.0.0"]);
    assert_eq!(held("vers:npm/!=1.2.3", &all), ["0.9", "1.0.0", "1.5.0-rc.1", "1.5.0", "2.0.0", "3.0.0"]);
    assert_eq!(held("vers:npm/>=1.0.0|<1.5.0", &all), ["1.0.0", "1.2.3", "1.5.0-rc.1"]);
    // In whatever order they are written.
    assert_eq!(held("vers:npm/<1.5.0|>1.0.0", &all), ["1.2.3", "1.5.0-rc.1"]);
    assert_eq!(held("vers:npm/<=1.0.0|>2.0.0", &all), ["0.9", "1.0.0", "3.0.0"]);
    assert_eq!(held("vers:npm/<1.0.0|>=1.2.3|!=1.5.0|<2.0.0|3.0.0", &all), ["0.9", "1.2.3", "1.5.0-rc.1", "3.0.0"]);
    let packages = ["1.1.1k-1", "1.1.1n-0+deb11u3", "1.1.1n-0+deb11u5", "3.0.2-1"];
    assert_eq!(held("vers:deb/<1.1.1n-0%2Bdeb11u5", &packages), ["1.1.1k-1", "1.1.1n-0+deb11u3"]);
    // What has no order here still has names.
    assert_eq!(held("vers:pypi/1.0|1.1", &["1.0", "1.0.0", "1.1"]), ["1.0", "1.1"]);
}

#[test]
fn what_is_no_range_is_refused_by_what_is_wrong_with_it() {
    for bad in [
        "",
        "vers",
        "vers:",
        "vers:npm",
        "vers:/1",
        "vers:npm/",
        "vers:npm/|",
        "vers:npm/>=",
        "npm/1.0",
        "vers:N pm/1",
        "vers:npm/1|",
        "vers:npm/%",
        "vers:npm/%zz",
        "vers:npm/1%00",
        "vers:npm/%ff",
    ] {
        assert!(matches!(bad.parse::<Range>(), Err(RangeError::Form(_))), "{bad}");
    }
    assert_eq!("vers:pypi/>=1.0".parse::<Range>(), Err(RangeError::Scheme("pypi".to_owned())));
    assert_eq!("vers:npm/1.0|>=1.0.0".parse::<Range>(), Err(RangeError::Twice("1.0.0".to_owned())));
    assert_eq!(format!("vers:npm/{}", "1|".repeat(600)).parse::<Range>(), Err(RangeError::TooLong));
    let many: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(format!("vers:npm/{}", many.join("|")).parse::<Range>(), Err(RangeError::TooLong));
}

#[test]
fn a_range_that_could_not_be_read_again_as_it_is_kept_is_refused() {
    // Each of these letters is kept as six bytes.
    for (letters, reads) in [(100, true), (400, false)] {
        let text = format!("vers:npm/{}", "é".repeat(letters));
        assert!(text.len() <= MAX_RANGE_BYTES);
        match text.parse::<Range>() {
            Ok(parsed) => assert!(reads && range(&parsed.to_string()) == parsed, "{letters}"),
            Err(error) => assert!(!reads && error == RangeError::TooLong, "{letters}: {error}"),
        }
    }
}

proptest! {
    #[test]
    fn each_order_is_total(
        scheme in prop::sample::select(vec![Scheme::Semver, Scheme::Deb, Scheme::Rpm, Scheme::Generic]),
        versions in prop::collection::vec("[0-9a-c.~^:+rv-]{0,8}", 3),
    ) {
        let [a, b, c] = &versions[..] else { unreachable!() };
        prop_assert_eq!(scheme.compare(a, a), Ordering::Equal);
        prop_assert_eq!(scheme.compare(a, b), scheme.compare(b, a).reverse());
        if scheme.compare(a, b).is_le() && scheme.compare(b, c).is_le() {
            prop_assert!(scheme.compare(a, c).is_le(), "{} {} {}", a, b, c);
        }
    }

    #[test]
    fn a_range_reads_back_and_holds_the_same(
        bounds in prop::collection::btree_map(0_u8..40, 0_usize..6, 1..8),
        version in 0_u8..40,
    ) {
        let comparators = ["", "!=", "<", "<=", ">", ">="];
        let text: Vec<String> = bounds.iter().map(|(v, c)| format!("{}{v}.0", comparators[*c])).collect();
        let parsed = range(&format!("vers:semver/{}", text.join("|")));
        prop_assert_eq!(&range(&parsed.to_string()), &parsed);
        // Between two neighbours that are not named, nothing changes: the rule asks only for the order.
        let (low, high) = (format!("{version}.1"), format!("{version}.2"));
        prop_assert_eq!(parsed.contains(&low), parsed.contains(&high));
        if let Some(comparator) = bounds.get(&version) {
            let named = matches!(comparators[*comparator], "" | "<=" | ">=");
            prop_assert_eq!(parsed.contains(&format!("{version}.0")), named);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(vers:(deb|npm|rpm|generic)/)?[<>=!|%0-9a-z.~^é-]{0,40}", version in "[0-9a-zé.~^:-]{0,20}") {
        if let Ok(range) = text.parse::<Range>() {
            range.contains(&version);
        }
    }
}
