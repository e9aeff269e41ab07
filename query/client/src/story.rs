//! The answer of `trivium find`.

use serde_json::Value;

use crate::terminal::Terminal;

pub(crate) fn render(_answer: &Value, _terminal: Terminal) -> String {
    String::new()
}
