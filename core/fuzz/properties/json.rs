//! One strict reading of JSON, one writing: what is read is written in a form that reads back as the same.

use suture_core::json;

pub(crate) fn hold(bytes: &[u8]) {
    let Ok(value) = json::parse(bytes) else { return };
    let written = json::to_bytes(&value).expect("what was read can be written: it holds no float");
    assert_eq!(json::parse(&written).expect("what was written can be read"), value);
    assert_eq!(json::to_bytes(&value).ok().as_ref(), Some(&written), "one value has one form");

    // A second reader of the same bytes, which keeps the last of two equal names, must see the same value.
    let lenient: serde_json::Value = serde_json::from_slice(bytes).expect("strict JSON is JSON");
    assert_eq!(lenient, value);

    // The signed form differs from the stored one in the control characters alone.
    let signed = json::canonical(&value).expect("what was read has a canonical form");
    if !signed.iter().any(|b| *b < 0x20) {
        assert_eq!(signed, written);
        assert_eq!(json::parse(&signed).expect("without control characters it is JSON"), value);
    }
    assert!(signed.len() <= written.len());
}
