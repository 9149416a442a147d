//! The few tags that the report is made of. All text is escaped here.

use suture_core::legible::deceives;

/// A page in the making.
#[derive(Debug)]
pub(super) struct Page(String);

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#111;\
background:#fff}h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:2.2rem;border-bottom:2px solid #111}\
h3{font-size:1.05rem;margin-bottom:.3rem}table{border-collapse:collapse;width:100%;margin:.5rem 0 1rem;font-size:.9rem}\
caption{text-align:left;font-weight:600;padding:.3rem 0}th,td{border:1px solid #767676;padding:.25rem .5rem;text-align:left;\
vertical-align:top;overflow-wrap:anywhere}th{background:#eee}dt{font-weight:600}dd{margin:0 0 .4rem 0;overflow-wrap:anywhere}\
.bad{font-weight:700;border-left:.4rem solid #a00;padding-left:.5rem}\
@media print{body{max-width:none;margin:0;font-size:10pt}thead{display:table-header-group}tr,dt{break-inside:avoid}\
h2,h3{break-after:avoid}@page{margin:15mm}}";

/// Text as it may stand in a page: what has a meaning there is written out, and what makes a person read something else is shown as its
/// number.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push(' '),
            c if deceives(c) => out.push_str(&format!("[U+{:04X}]", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

impl Page {
    /// Begins a page.
    pub(super) fn new(title: &str) -> Self {
        let title = escaped(title);
        Self(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
             <body>\n<main>\n<h1>{title}</h1>\n"
        ))
    }

    /// A heading of the second level.
    pub(super) fn section(&mut self, heading: &str) {
        self.0.push_str(&format!("<h2>{}</h2>\n", escaped(heading)));
    }

    /// A heading of the third.
    pub(super) fn part(&mut self, heading: &str) {
        self.0.push_str(&format!("<h3>{}</h3>\n", escaped(heading)));
    }

    /// A paragraph.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.0.push_str(&format!("<p>{}</p>\n", escaped(text)));
    }

    /// A paragraph that nobody should miss.
    pub(super) fn warning(&mut self, text: &str) {
        self.0.push_str(&format!("<p class=\"bad\">{}</p>\n", escaped(text)));
    }

    /// Terms and what is said of each; those of which nothing is said are left out.
    pub(super) fn terms<'a>(&mut self, terms: impl IntoIterator<Item = (&'a str, String)>) {
        self.0.push_str("<dl>\n");
        for (term, text) in terms.into_iter().filter(|(_, text)| !text.is_empty()) {
            self.0.push_str(&format!("<dt>{}</dt><dd>{}</dd>\n", escaped(term), escaped(&text)));
        }
        self.0.push_str("</dl>\n");
    }

    /// A table with a caption and headings; the first cell of a row is its heading. Left out where it has no row.
    pub(super) fn table<const N: usize>(
        &mut self,
        caption: &str,
        headings: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return;
        }
        self.0.push_str(&format!("<table>\n<caption>{}</caption>\n<thead><tr>", escaped(caption)));
        for heading in headings {
            self.0.push_str(&format!("<th scope=\"col\">{}</th>", escaped(heading)));
        }
        self.0.push_str("</tr></thead>\n<tbody>\n");
        for row in rows {
            self.0.push_str("<tr>");
            for (i, cell) in row.iter().enumerate() {
                let (tag, end) = if i == 0 { ("th scope=\"row\"", "th") } else { ("td", "td") };
                self.0.push_str(&format!("<{tag}>{}</{end}>", escaped(cell)));
            }
            self.0.push_str("</tr>\n");
        }
        self.0.push_str("</tbody>\n</table>\n");
    }

    /// The whole page.
    pub(super) fn finish(mut self) -> String {
        self.0.push_str("</main>\n</body>\n</html>\n");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_a_tag_an_attribute_or_another_direction() {
        let mut page = Page::new("<script>");
        let evil = "</td><script>alert(1)</script>\" onclick='x'\u{202e}\x1b[2J".to_owned();
        page.section(&evil);
        page.part(&evil);
        page.paragraph(&evil);
        page.warning(&evil);
        page.terms([(evil.as_str(), evil.clone())]);
        page.table(&evil, [&evil], [[evil.clone()]]);
        let text = page.finish();
        let body = text.split_once("<main>").unwrap().1;
        assert!(!body.contains("<script") && !body.contains("onclick='") && !body.contains('\u{202e}'), "{body}");
        assert!(body.contains("[U+202E][U+001B][2J"));
        // Every tag that is opened is closed, whatever the text was.
        for tag in ["main", "h2", "h3", "p", "dl", "dt", "dd", "table", "tr", "th", "tbody", "thead"] {
            let opened = body.matches(&format!("<{tag}>")).count() + body.matches(&format!("<{tag} ")).count();
            let opened = if tag == "main" { opened + 1 } else { opened };
            assert_eq!(opened, body.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}
