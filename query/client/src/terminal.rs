//! What a line of output may contain: text from telemetry made harmless, cut to a width, in a colour.

use std::borrow::Cow;

use console::{Term, measure_text_width};

/// Where the output goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Columns; `None` when the output is read by a program, which wants everything.
    pub(crate) width: Option<usize>,
    /// Whether colours are wanted.
    pub(crate) colours: bool,
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    /// Of little interest.
    Faint,
    Strong,
    Good,
    Warning,
    Failure,
    Name,
}

impl Terminal {
    /// Standard output as it is. `NO_COLOR` and pipes get no colours.
    pub(crate) fn detect() -> Self {
        let output = Term::stdout();
        let width = output.is_term().then(|| output.size_checked().map_or(80, |(_, columns)| columns.into()));
        Self { width, colours: console::colors_enabled() }
    }

    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.colours || text.is_empty() => return text.into(),
            Tone::Plain => return text.into(),
            Tone::Faint => "2",
            Tone::Strong => "1",
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Failure => "31",
            Tone::Name => "36",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Text that came from telemetry, as one line that cannot command the terminal: control characters, and those that turn
/// the direction of writing or are invisible, are spelled out.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return text.into();
    }
    let mut output = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => output.push_str("\\n"),
            '\r' => output.push_str("\\r"),
            '\t' => output.push_str("\\t"),
            _ if is_harmful(character) => output.extend(character.escape_unicode()),
            _ => output.push(character),
        }
    }
    output.into()
}

fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Columns that harmless text takes.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { measure_text_width(text) }
}

/// Harmless text in at most `columns` columns, cut where it is too long.
pub(crate) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return text.into();
    }
    let mut used = 0;
    let kept = text.chars().take_while(|character| {
        used += width(character.encode_utf8(&mut [0; 4]));
        used < columns
    });
    let mut output: String = kept.collect();
    if columns > 0 {
        output.push('…');
    }
    output.into()
}

/// Harmless text in exactly `columns` columns.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let padding = columns.saturating_sub(width(&text));
    format!("{text}{:padding$}", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telemetry_cannot_command_the_terminal() {
        let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J a\nb\tc\r\u{9b}31m \u{202e}txt\u{feff}";
        let shown = harmless(hostile);
        assert!(!shown.contains(is_harmful), "{shown:?}");
        assert_eq!(shown, "\\u{1b}]0;owned\\u{7}\\u{1b}[2J a\\nb\\tc\\r\\u{9b}31m \\u{202e}txt\\u{feff}");
        assert_eq!(harmless("grüße, 世界 👋"), "grüße, 世界 👋");
    }

    #[test]
    fn text_is_cut_by_the_columns_that_it_takes() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("世界世界", 5), "世界…", "a wide character takes two columns");
        assert_eq!(cut("世界世界", 4), "世…");
        assert_eq!(cut("abc", 0), "");
        assert_eq!(fit("世", 4), "世  ");
    }

    #[test]
    fn no_colours_means_no_escapes() {
        let plain = Terminal { width: None, colours: false };
        assert_eq!(plain.paint(Tone::Failure, "x"), "x");
        assert_eq!(Terminal { colours: true, ..plain }.paint(Tone::Failure, "x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
