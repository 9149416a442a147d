//! Which characters a package URL writes as they are (ECMA-427, "Character encoding").

use super::PurlError;

/// Letters, digits, `.`, `-`, `_`, `~` and the colon; all else as the bytes of UTF-8 behind `%`.
pub(super) fn encode(text: &str, out: &mut String) {
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~' | b':') {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
}

/// The text that percent-encoding stands for.
pub(super) fn decode(text: &str) -> Result<String, PurlError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((b, more)) = rest.split_first() {
        rest = more;
        if *b != b'%' {
            out.push(*b);
            continue;
        }
        let (hex, more) = rest.split_at_checked(2).ok_or(PurlError::Encoding)?;
        let mut byte = [0];
        hex::decode_to_slice(hex, &mut byte).map_err(|_| PurlError::Encoding)?;
        out.extend(byte);
        rest = more;
    }
    String::from_utf8(out).map_err(|_| PurlError::Encoding)
}
