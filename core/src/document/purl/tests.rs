use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// The test suite of the standard itself, from package-url/purl-spec: `tests/documents/README.md` says which and whence.
#[test]
fn the_standards_own_suite_agrees() {
    let suites = [
        include_str!("../../../tests/documents/purl/specification-test.json"),
        include_str!("../../../tests/documents/purl/apk-test.json"),
        include_str!("../../../tests/documents/purl/cargo-test.json"),
        include_str!("../../../tests/documents/purl/deb-test.json"),
        include_str!("../../../tests/documents/purl/docker-test.json"),
        include_str!("../../../tests/documents/purl/generic-test.json"),
        include_str!("../../../tests/documents/purl/github-test.json"),
        include_str!("../../../tests/documents/purl/golang-test.json"),
        include_str!("../../../tests/documents/purl/maven-test.json"),
        include_str!("../../../tests/documents/purl/npm-test.json"),
        include_str!("../../../tests/documents/purl/oci-test.json"),
        include_str!("../../../tests/documents/purl/pypi-test.json"),
    ];
    let mut tried = 0;
    for suite in suites {
        let suite: Value = serde_json::from_str(suite).unwrap();
        for test in suite["tests"].as_array().unwrap() {
            // The suite builds from parts too, which nothing here does.
            let Some(input) = test["input"].as_str() else { continue };
            let read = input.parse::<Purl>();
            tried += 1;
            if test["expected_failure"] == true {
                assert!(read.is_err(), "{input} is read as {read:?}");
                continue;
            }
            let read = read.unwrap_or_else(|e| panic!("{input}: {e}"));
            match &test["expected_output"] {
                Value::String(canonical) => assert_eq!(&read.to_string(), canonical, "{input}"),
                parts => assert_parts(&read, parts, input),
            }
        }
    }
    assert!(tried > 100, "only {tried}");
}

fn assert_parts(read: &Purl, parts: &Value, input: &str) {
    let text = |name: &str| parts[name].as_str();
    assert_eq!(Some(read.kind()), text("type"), "{input}");
    assert_eq!(read.namespace().as_deref(), text("namespace"), "{input}");
    assert_eq!(Some(read.name()), text("name"), "{input}");
    assert_eq!(read.version(), text("version"), "{input}");
    assert_eq!(read.subpath().as_deref(), text("subpath"), "{input}");
    let qualifiers = parts["qualifiers"].as_object().into_iter().flatten();
    let qualifiers: BTreeMap<_, _> =
        qualifiers.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect();
    assert_eq!(read.qualifiers(), &qualifiers, "{input}");
}

#[test]
fn the_package_is_the_same_in_any_version_and_place() {
    let package = |text: &str| text.parse::<Purl>().unwrap().package();
    assert_eq!(package("pkg:deb/debian/Curl@7.50.3-1?arch=i386&distro=jessie"), "pkg:deb/debian/curl");
    assert_eq!(package("pkg:npm/@babel/core@7#lib"), "pkg:npm/%40babel/core");
    assert_eq!(package("pkg:npm/%40babel/core"), "pkg:npm/%40babel/core");
}

#[test]
fn what_is_no_package_url_says_why() {
    let long = format!("pkg:generic/{}", "x".repeat(MAX_PURL_BYTES));
    // Short as it is written, and not in the canonical form.
    let long_encoded = format!("pkg:generic/{}", "+".repeat(MAX_PURL_BYTES / 2));
    for (text, why) in [
        ("", PurlError::Scheme),
        ("http://acme.example/x", PurlError::Scheme),
        ("pkg:cargo", PurlError::Kind),
        ("pkg:/", PurlError::Kind),
        ("pkg:2nd/x", PurlError::Kind),
        ("pkg:cargo/@1.0", PurlError::Name),
        ("pkg:cargo/serde@%zz", PurlError::Encoding),
        ("pkg:cargo/serde@%4", PurlError::Encoding),
        ("pkg:cargo/%ff", PurlError::Encoding),
        ("pkg:golang/a%2Fb/c", PurlError::Segment),
        ("pkg:cargo/serde?arch", PurlError::Qualifier),
        ("pkg:cargo/serde?a=1&A=2", PurlError::Qualifier),
        ("pkg:cargo/serde@%0A", PurlError::Control),
        (&long, PurlError::TooLong),
        (&long_encoded, PurlError::TooLong),
    ] {
        assert_eq!(text.parse::<Purl>(), Err(why), "{text}");
    }
}

proptest! {
    /// The canonical form is read as the same thing, and is its own canonical form.
    #[test]
    fn one_package_has_one_spelling(
        text in "pkg:(deb|npm|pypi|oci|x)/([@a-zA-Z%/._é-]{0,12}/)?[@a-zA-Z_%.~ -]{1,8}(@[0-9a-zA-Z:+%.]{0,6})?(\\?[a-z]=[a-z/:%]{0,4})?(#[a-z./]{0,6})?",
    ) {
        if let Ok(read) = text.parse::<Purl>() {
            let canonical = read.to_string();
            let again: Purl = canonical.parse().unwrap();
            prop_assert_eq!(&again.to_string(), &canonical);
            prop_assert_eq!(&again, &read);
            prop_assert_eq!(read.package().parse::<Purl>().unwrap().package(), read.package());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}", tail in "pkg:[@/?#%&=a-z0-9.:]{0,40}") {
        let _ = (text.parse::<Purl>(), tail.parse::<Purl>());
    }
}
