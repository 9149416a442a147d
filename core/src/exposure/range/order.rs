//! Which of two versions is the later one, by the rules of those who number them so.
//!
//! Every order here is total: whatever stands in a document, two versions compare the same way each time.

use std::cmp::Ordering;

/// How versions are numbered: the versioning scheme of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Semantic Versioning 2.0.0, section 11, which npm, Cargo and Go use too. A `v` before it is passed over, a number that is
    /// missing is 0.
    Semver,
    /// Debian Policy, 5.6.12: epoch, upstream version, revision.
    Deb,
    /// RPM's: epoch, version, release.
    Rpm,
    /// No rule is written down: numbers by their value, words by their letters, a word such as `rc` before the version itself.
    Generic,
}

impl Scheme {
    /// The scheme of that name in a range, or of the package URLs of that type; none where this program does not know the order.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "semver" | "npm" | "cargo" | "golang" => Some(Self::Semver),
            "deb" => Some(Self::Deb),
            "rpm" => Some(Self::Rpm),
            "generic" => Some(Self::Generic),
            _ => None,
        }
    }

    /// Which of two versions is the later one.
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        match self {
            Self::Semver => semver(a, b),
            Self::Deb => packaged(a, b, deb_part),
            Self::Rpm => packaged(a, b, rpm_part),
            Self::Generic => generic(a, b),
        }
    }
}

/// Digits by their value, however many they are.
fn numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// A number is before a word (Semantic Versioning, 11.4.3).
fn identifiers(a: &str, b: &str) -> Ordering {
    match (is_number(a), is_number(b)) {
        (true, true) => numbers(a, b),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(b),
    }
}

fn semver(a: &str, b: &str) -> Ordering {
    // What stands behind a plus is no part of the order (10).
    let cut = |text: &'_ str| -> (String, Option<String>) {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let text = text.split_once('+').map_or(text, |(version, _)| version);
        match text.split_once('-') {
            Some((release, before)) => (release.to_owned(), Some(before.to_owned())),
            None => (text.to_owned(), None),
        }
    };
    let ((a, a_before), (b, b_before)) = (cut(a), cut(b));
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => break,
            (x, y) => identifiers(x.unwrap_or("0"), y.unwrap_or("0")),
        };
        if order.is_ne() {
            return order;
        }
    }
    match (a_before, b_before) {
        (None, None) => Ordering::Equal,
        // 11.3: a pre-release is before the version itself.
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(a), Some(b)) => {
            let (mut a, mut b) = (a.split('.'), b.split('.'));
            loop {
                let order = match (a.next(), b.next()) {
                    (None, None) => return Ordering::Equal,
                    // 11.4.4: more fields are later.
                    (None, Some(_)) => Ordering::Less,
                    (Some(_), None) => Ordering::Greater,
                    (Some(x), Some(y)) => identifiers(x, y),
                };
                if order.is_ne() {
                    return order;
                }
            }
        }
    }
}

/// `epoch:version-revision`; without an epoch it is 0, without a revision it is before every other.
fn packaged(a: &str, b: &str, part: fn(&str, &str) -> Ordering) -> Ordering {
    fn cut(text: &str) -> (&str, &str, &str) {
        let (epoch, rest) = text.split_once(':').filter(|(epoch, _)| is_number(epoch)).unwrap_or(("0", text));
        let (version, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch, version, revision)
    }
    let ((a_epoch, a, a_revision), (b_epoch, b, b_revision)) = (cut(a), cut(b));
    numbers(a_epoch, b_epoch).then_with(|| part(a, b)).then_with(|| part(a_revision, b_revision))
}

/// The first characters for which something holds, and the rest.
fn span(text: &str, holds: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !holds(c)).unwrap_or(text.len()))
}

/// Debian Policy, 5.6.12: by turns what is no digit, character by character, and what is, by its value.
fn deb_part(mut a: &str, mut b: &str) -> Ordering {
    /// The tilde is before the end, the end before letters, letters before all else.
    fn rank(c: Option<char>) -> (u8, u32) {
        match c {
            Some('~') => (0, 0),
            None => (1, 0),
            Some(c) if c.is_ascii_alphabetic() => (2, c.into()),
            Some(c) => (3, c.into()),
        }
    }
    while !a.is_empty() || !b.is_empty() {
        let ((a_text, a_rest), (b_text, b_rest)) = (span(a, |c| !c.is_ascii_digit()), span(b, |c| !c.is_ascii_digit()));
        let (mut x, mut y) = (a_text.chars(), b_text.chars());
        loop {
            let (x, y) = (x.next(), y.next());
            let order = rank(x).cmp(&rank(y));
            if order.is_ne() {
                return order;
            }
            if x.is_none() {
                break;
            }
        }
        let ((a_number, a_rest), (b_number, b_rest)) =
            (span(a_rest, |c| c.is_ascii_digit()), span(b_rest, |c| c.is_ascii_digit()));
        let order = numbers(a_number, b_number);
        if order.is_ne() {
            return order;
        }
        (a, b) = (a_rest, b_rest);
    }
    Ordering::Equal
}

/// As RPM compares: runs of digits and of letters, what separates them is passed over; a tilde is before the end and a caret
/// behind it, yet before all else.
fn rpm_part(mut a: &str, mut b: &str) -> Ordering {
    loop {
        let passed = |c: char| !c.is_ascii_alphanumeric() && c != '~' && c != '^';
        (a, b) = (a.trim_start_matches(passed), b.trim_start_matches(passed));
        match (a.strip_prefix('~'), b.strip_prefix('~')) {
            (Some(x), Some(y)) => {
                (a, b) = (x, y);
                continue;
            }
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => {}
        }
        match (a.strip_prefix('^'), b.strip_prefix('^')) {
            (Some(x), Some(y)) => {
                (a, b) = (x, y);
                continue;
            }
            (Some(_), None) => return if b.is_empty() { Ordering::Greater } else { Ordering::Less },
            (None, Some(_)) => return if a.is_empty() { Ordering::Less } else { Ordering::Greater },
            (None, None) => {}
        }
        if a.is_empty() || b.is_empty() {
            return a.len().min(1).cmp(&b.len().min(1));
        }
        let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let order = match (digits(a), digits(b)) {
            // Numbers are later than words.
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (true, true) => {
                let ((x, a_rest), (y, b_rest)) = (span(a, |c| c.is_ascii_digit()), span(b, |c| c.is_ascii_digit()));
                (a, b) = (a_rest, b_rest);
                numbers(x, y)
            }
            (false, false) => {
                let ((x, a_rest), (y, b_rest)) =
                    (span(a, |c| c.is_ascii_alphabetic()), span(b, |c| c.is_ascii_alphabetic()));
                (a, b) = (a_rest, b_rest);
                x.cmp(y)
            }
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Words that mean that the version itself is yet to come.
const BEFORE: [&str; 7] = ["alpha", "beta", "dev", "pre", "preview", "rc", "snapshot"];

fn generic(a: &str, b: &str) -> Ordering {
    /// A word such as `rc` is before the end, other words behind it, numbers behind those.
    fn rank(token: Option<&str>) -> u8 {
        match token {
            Some(word) if BEFORE.contains(&word) => 0,
            None => 1,
            Some(word) if !is_number(word) => 2,
            Some(_) => 3,
        }
    }
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let (mut a, mut b) = (Tokens(&a), Tokens(&b));
    loop {
        let (x, y) = (a.next(), b.next());
        let order = rank(x).cmp(&rank(y)).then_with(|| match (x, y) {
            (Some(x), Some(y)) if is_number(x) => numbers(x, y),
            (x, y) => x.cmp(&y),
        });
        if order.is_ne() || x.is_none() {
            return order;
        }
    }
}

/// Runs of digits and of other characters; dots, dashes, underscores and pluses only separate.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;
    fn next(&mut self) -> Option<&'a str> {
        let separates = |c: char| matches!(c, '.' | '-' | '_' | '+');
        let text = self.0.trim_start_matches(separates);
        let digits = text.starts_with(|c: char| c.is_ascii_digit());
        let (token, rest) = span(text, |c| c.is_ascii_digit() == digits && !separates(c));
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }
}
