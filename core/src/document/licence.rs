//! The shape of a licence expression: SPDX 2.3, annex D. Whether a licence of that name is on SPDX's list is not asked; the
//! list grows.

use crate::limits::{MAX_JSON_DEPTH, MAX_LICENCE_BYTES};

/// Whether a text is an expression: names joined by `AND`, `OR` and `WITH`, in parentheses or not.
pub(super) fn is_expression(text: &str) -> bool {
    if text.len() > MAX_LICENCE_BYTES {
        return false;
    }
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    // What may come next is one of two: an operand, or what follows one.
    let (mut open, mut operand_next, mut exception_next, mut simple) = (0_u32, true, false, false);
    for token in spaced.split_ascii_whitespace() {
        match token {
            "(" if operand_next && !exception_next && open < MAX_JSON_DEPTH => open += 1,
            ")" if !operand_next && open > 0 => (open, simple) = (open - 1, false),
            // "Lowercase operators are equivalent": SPDX 2.3, D.2.
            "AND" | "OR" | "and" | "or" if !operand_next => operand_next = true,
            "WITH" | "with" if !operand_next && simple => (operand_next, exception_next) = (true, true),
            "(" | ")" | "AND" | "OR" | "WITH" | "and" | "or" | "with" => return false,
            name if operand_next && is_name(name, exception_next) => {
                (operand_next, simple, exception_next) = (false, !exception_next, false);
            }
            _ => return false,
        }
    }
    open == 0 && !operand_next
}

/// A licence's or an exception's id: `MIT`, `GPL-2.0+`, `LicenseRef-acme`, `DocumentRef-d:LicenseRef-acme`.
pub(super) fn is_name(text: &str, exception: bool) -> bool {
    let plain =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
    if let Some((document, licence)) = text.split_once(':') {
        let (document, licence) = (document.strip_prefix("DocumentRef-"), licence.strip_prefix("LicenseRef-"));
        return !exception && document.is_some_and(plain) && licence.is_some_and(plain);
    }
    plain(if exception { text } else { text.strip_suffix('+').unwrap_or(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_have_names_between_operators() {
        for good in [
            "MIT",
            "GPL-2.0+",
            "MIT OR Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "((MIT) and (ISC or Zlib))",
            "LicenseRef-acme AND DocumentRef-d.1:LicenseRef-acme",
        ] {
            assert!(is_expression(good), "{good}");
        }
        let deep = format!("{}MIT{}", "(".repeat(65), ")".repeat(65));
        for bad in [
            "",
            "()",
            "MIT Apache-2.0",
            "MIT/Apache-2.0",
            "MIT OR",
            "AND MIT",
            "(MIT",
            "MIT)",
            "(MIT) WITH x",
            "MIT WITH a WITH b",
            "MIT WITH (x)",
            "MIT WITH x+",
            "The MIT License",
            "DocumentRef-d:MIT",
            "MIT OR Äpache",
            &deep,
        ] {
            assert!(!is_expression(bad), "{bad}");
        }
    }
}
