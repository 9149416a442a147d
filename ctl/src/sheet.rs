//! Rows for a spreadsheet, as RFC 4180 has them, with no formula in a cell ([`cell`]).

use crate::print::cell;

/// One row, without its line end.
pub fn row(cells: &[&str]) -> String {
    cells.iter().map(|text| quoted(cell(text))).collect::<Vec<_>>().join(",")
}

/// A whole table, each row with its line end.
pub fn table<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = row(&headings) + "\n";
    for cells in rows {
        table.push_str(&row(&cells.each_ref().map(String::as_str)));
        table.push('\n');
    }
    table
}

fn quoted(cell: String) -> String {
    if cell.contains([',', '"', ';']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_it_was_and_no_cell_is_a_formula() {
        let line = row(&["pump-1", "a, \"b\"", "=cmd()", "one; =two", "-1", ""]);
        assert_eq!(line, "pump-1,\"a, \"\"b\"\"\",'=cmd(),\"one; '=two\",'-1,");
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
        let read: Vec<String> = reader.records().next().unwrap().unwrap().iter().map(str::to_owned).collect();
        assert_eq!(read, ["pump-1", "a, \"b\"", "'=cmd()", "one; '=two", "'-1", ""]);
    }

    #[test]
    fn a_table_has_a_line_for_its_headings_and_one_for_each_row_whatever_stands_in_a_cell() {
        let rows = [["=HYPERLINK(\"http://evil\")", "a, \"b\""], ["two\nlines", ""]].map(|row| row.map(str::to_owned));
        let table = table(["reason", "text"], rows.into_iter());
        let mut lines = table.lines();
        assert_eq!(lines.next(), Some("reason,text"));
        assert_eq!(lines.next(), Some("\"'=HYPERLINK(\"\"http://evil\"\")\",\"a, \"\"b\"\"\""));
        assert!(lines.next().unwrap().starts_with("two") && lines.next().is_none(), "{table}");
        let read =
            csv::Reader::from_reader(table.as_bytes()).records().map(|row| row.unwrap().len()).collect::<Vec<_>>();
        assert_eq!(read, [2, 2]);
    }
}
