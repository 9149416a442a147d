//! Rows for a spreadsheet, as RFC 4180 has them, with no formula in a cell ([`cell`]).

use crate::print::cell;

/// One row, without its line end.
pub fn row(cells: &[&str]) -> String {
    cells.iter().map(|text| quoted(cell(text))).collect::<Vec<_>>().join(",")
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
}
