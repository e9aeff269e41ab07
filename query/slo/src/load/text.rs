//! The text of a node as its author wrote it.

/// Lines that are kept of one node.
const LINES_MAX: usize = 200;

/// The text of the node that begins at this line and column (from 1), without the indentation that it stands in.
pub(super) fn written(file: &str, line: u64, column: u64) -> String {
    let (Ok(line), Ok(column)) = (usize::try_from(line), usize::try_from(column)) else { return String::new() };
    let (Some(skipped), indent) = (line.checked_sub(1), column.saturating_sub(1)) else { return String::new() };
    let mut lines = file.lines().skip(skipped);
    let first: String = lines.next().unwrap_or_default().chars().skip(indent).collect();
    let mut depth = depth_of(&first);
    let is_flow = first.starts_with(['{', '[']);
    let mut text = first;
    for next in lines.take(LINES_MAX) {
        let own_indent = next.chars().take_while(|char| *char == ' ').count();
        let belongs = if is_flow { depth > 0 } else { next.trim().is_empty() || own_indent >= indent.max(1) };
        if !belongs || next.starts_with("---") {
            break;
        }
        depth += depth_of(next);
        text.push('\n');
        text.extend(next.chars().skip(indent.min(own_indent)));
    }
    text.truncate(text.trim_end().len());
    text
}

fn depth_of(line: &str) -> i64 {
    line.chars().fold(0, |depth, char| match char {
        '{' | '[' => depth + 1,
        '}' | ']' => depth - 1,
        _ => depth,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_cut_out_of_its_file() {
        let file = "a:\n  indicator:\n    promql:\n      good: x\n\n      total: y\n  window: 30d\n";
        assert_eq!(written(file, 3, 5), "promql:\n  good: x\n\n  total: y");
        let flow = "a:\n  indicator: {spans: {service: a,\n    below: 1s}}\n  window: 30d\n";
        assert_eq!(written(flow, 2, 14), "{spans: {service: a,\nbelow: 1s}}");
        assert_eq!(written("x", 9, 9), "");
    }
}
