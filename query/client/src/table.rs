//! The answer of a SQL statement as a table.

use serde_json::Value;

use crate::terminal::{Terminal, Tone, cut, fit, width};
use crate::value::{counted, display, list, text, time};

/// Columns between two cells.
const GAP: usize = 2;

/// A column is not made narrower than this to fit the terminal.
const WIDTH_MIN: usize = 6;

/// Renders `{"columns": [{"name", "type"}], "rows": [[…]], "truncated"?, "error"?}`; an answer that failed on its way has the
/// error after its rows.
pub(crate) fn render(answer: &Value, terminal: Terminal) -> String {
    let columns: Vec<Column> = list(answer, "columns").iter().map(Column::new).collect();
    let rows: Vec<Vec<String>> = list(answer, "rows")
        .iter()
        .map(|row| columns.iter().enumerate().map(|(index, column)| column.cell(&row[index])).collect())
        .collect();
    let widths = widths(&columns, &rows, terminal.width);
    let mut lines = Vec::with_capacity(rows.len() + 3);
    let header = columns
        .iter()
        .zip(&widths)
        .map(|(column, &width)| terminal.paint(Tone::Strong, &column.fit(&column.name, width)));
    lines.push(join(header));
    lines.push(terminal.paint(Tone::Faint, &join(widths.iter().map(|&width| "─".repeat(width)))));
    for row in &rows {
        lines.push(join(row.iter().zip(&columns).zip(&widths).map(|((cell, column), &width)| column.fit(cell, width))));
    }
    lines.push(terminal.paint(Tone::Faint, &footer(answer, rows.len())));
    if answer["error"].is_object() {
        let message = format!("the answer broke off: {}", text(&answer["error"], "message"));
        lines.push(terminal.paint(Tone::Failure, &message));
    }
    lines.join("\n")
}

struct Column {
    name: String,
    is_time: bool,
    is_number: bool,
}

impl Column {
    fn new(column: &Value) -> Self {
        let kind = text(column, "type");
        let numbers = ["int", "uint", "float", "decimal", "duration"];
        Self {
            name: text(column, "name"),
            is_time: kind == "timestamp",
            is_number: numbers.iter().any(|number| kind.starts_with(number)),
        }
    }

    fn cell(&self, value: &Value) -> String {
        match value {
            Value::Null => "null".into(),
            value if self.is_time => time(value),
            value => display(value),
        }
    }

    /// Numbers stand on the right, so that their digits are below each other.
    fn fit(&self, text: &str, columns: usize) -> String {
        if !self.is_number {
            return fit(text, columns);
        }
        let text = cut(text, columns);
        let padding = columns.saturating_sub(width(&text));
        format!("{:padding$}{text}", "")
    }
}

/// As wide as the widest cell; when that is too much for the terminal the widest columns give way first.
fn widths(columns: &[Column], rows: &[Vec<String>], terminal: Option<usize>) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|column| width(&column.name)).collect();
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    let gaps = GAP * columns.len().saturating_sub(1);
    let room = terminal.map_or(usize::MAX, |columns| columns.saturating_sub(gaps));
    while widths.iter().sum::<usize>() > room {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > WIDTH_MIN) else { break };
        *widest -= 1;
    }
    widths
}

fn join(cells: impl Iterator<Item = String>) -> String {
    let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
    line.trim_end().to_owned()
}

fn footer(answer: &Value, rows: usize) -> String {
    let more = if answer["truncated"] == Value::Bool(true) { ", there are more" } else { "" };
    format!("({}{more})", counted(rows, "row"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(answer: &Value, columns: Option<usize>, expected: &[&str]) {
        let rendered = render(answer, Terminal { width: columns, colours: false });
        assert_eq!(rendered.lines().collect::<Vec<_>>(), expected);
    }

    fn answer() -> Value {
        json!({
            "columns": [{"name": "time", "type": "timestamp"}, {"name": "body", "type": "text"}, {"name": "n", "type": "int64"}],
            "rows": [["1790000000123456789", "a\nlong text from telemetry", "12"], [null, "b", "3"]],
            "truncated": true,
        })
    }

    #[test]
    fn cells_are_aligned_and_spelled_out() {
        check(
            &answer(),
            None,
            &[
                "time                     body                          n",
                "───────────────────────  ───────────────────────────  ──",
                "2026-09-21 14:13:20.123  a\\nlong text from telemetry  12",
                "null                     b                             3",
                "(2 rows, there are more)",
            ],
        );
    }

    #[test]
    fn wide_columns_give_way_to_the_terminal() {
        check(
            &answer(),
            Some(40),
            &[
                "time               body                n",
                "─────────────────  ─────────────────  ──",
                "2026-09-21 14:13…  a\\nlong text fro…  12",
                "null               b                   3",
                "(2 rows, there are more)",
            ],
        );
    }

    #[test]
    fn an_answer_that_broke_off_says_so() {
        let broken = json!({
            "columns": [{"name": "a", "type": "int32"}], "rows": [[1]], "row_count": 1, "partial": true,
            "error": {"kind": "cancelled", "message": "the time is over"},
        });
        check(&broken, None, &["a", "─", "1", "(1 row)", "the answer broke off: the time is over"]);
    }

    #[test]
    fn an_empty_answer_still_names_its_columns() {
        let empty = json!({ "columns": [{"name": "a", "type": "text"}], "rows": [] });
        check(&empty, Some(80), &["a", "─", "(0 rows)"]);
    }
}
