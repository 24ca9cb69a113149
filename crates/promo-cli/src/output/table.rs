//! Columns of equal width.

use anstream::adapter::strip_str;

/// Rows as lines, each column as wide as its widest cell; the last one is as wide as it is. Cells may carry labels.
pub(crate) fn columns(rows: &[Vec<String>], indent: &str) -> String {
    let width = |cell: &str| strip_str(cell).to_string().chars().count();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> =
        (0..count).map(|c| rows.iter().filter_map(|r| r.get(c)).map(|cell| width(cell)).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = indent.to_owned();
        for (n, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if n + 1 < row.len() {
                line.push_str(&" ".repeat(widths[n] - width(cell) + 2));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_their_labels() {
        let rows =
            [vec!["a".into(), "\u{1b}[1mbb\u{1b}[0m".into(), "c".into()], vec!["aaa".into(), "b".into(), "c".into()]];
        let text = strip_str(&columns(&rows, "  ")).to_string();
        assert_eq!(text, "  a    bb  c\n  aaa  b   c\n");
    }
}
