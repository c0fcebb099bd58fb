//! Tables: aligned columns, which are also Markdown.

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// The names of its columns; the first and the last are texts, the others numbers.
    pub head: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// As Markdown, which is readable on a terminal too.
    #[must_use]
    pub fn markdown(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let cells = cells.map(|cell| cell.chars().count());
            cells
                .chain([self.head[column].chars().count(), 3])
                .max()
                .unwrap_or(3)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let is_text = |column: usize| column == 0 || column + 1 == widths.len();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::from("|");
            for (column, cell) in cells.enumerate() {
                let width = widths[column];
                line += &match is_text(column) {
                    true => format!(" {cell:<width$} |"),
                    false => format!(" {cell:>width$} |"),
                };
            }
            line + "\n"
        };
        let mut text = line(&mut self.head.iter().copied());
        let rules: Vec<String> = (0..widths.len())
            .map(|column| match is_text(column) {
                true => "-".repeat(widths[column]),
                false => "-".repeat(widths[column] - 1) + ":",
            })
            .collect();
        text += &line(&mut rules.iter().map(String::as_str));
        for row in &self.rows {
            text += &line(&mut row.iter().map(String::as_str));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let table = Table {
            head: vec!["a", "b", "c"],
            rows: vec![vec!["server".into(), "1.5".into(), "×".into()]],
        };
        let expected = "| a      |   b | c   |\n| ------ | --: | --- |\n| server | 1.5 | ×   |\n";
        assert_eq!(table.markdown(), expected);
    }
}
