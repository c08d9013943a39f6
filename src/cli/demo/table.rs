//! What went in and what came out, as a table.

use crate::cli::Output;

/// One line: something went in, and it should have come out somewhere.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The part of the table it stands in.
    pub(super) part: &'static str,
    pub(super) went_in: String,
    /// What the sender was told at once.
    pub(super) answer: String,
    /// Where it came out.
    pub(super) came_out: String,
    /// What it says there.
    pub(super) says: String,
    /// What should have been otherwise.
    pub(super) wrong: Option<String>,
}

/// The longest text of the last column.
const SAYS: usize = 72;

/// Prints the rows and says how many are not as they should be.
pub(super) fn print(rows: &[Row], output: &Output) -> usize {
    let width = |column: fn(&Row) -> &str| {
        rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0)
    };
    let went_in = width(|row| &row.went_in);
    let answer = width(|row| &row.answer);
    let came_out = width(|row| &row.came_out);
    let mut part = "";
    for row in rows {
        if row.part != part {
            part = row.part;
            output.line(format_args!("\n{part}"));
        }
        let mark = if row.wrong.is_none() { "✓" } else { "✗" };
        output.line(format_args!(
            "  {mark} {:went_in$}  {:answer$}  → {:came_out$}  {}",
            row.went_in,
            row.answer,
            row.came_out,
            shortened(&row.says)
        ));
        if let Some(wrong) = &row.wrong {
            output.line(format_args!("      {wrong}"));
        }
    }
    output.line("");
    rows.iter().filter(|row| row.wrong.is_some()).count()
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= SAYS {
        return text.to_owned();
    }
    text.chars().take(SAYS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let long = "仓".repeat(100);
        assert_eq!(shortened(&long).chars().count(), SAYS);
        assert_eq!(shortened("short"), "short");
    }
}
