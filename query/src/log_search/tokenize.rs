//! The small parts of the tokenizer that a pattern needs; everything else is [`trivium_storage::tokens`].

/// Whether a character belongs to a token.
pub(super) fn is_token_char(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// A piece of a token as the index has it.
pub(super) fn lower(token: &str) -> String {
    token.chars().flat_map(char::to_lowercase).collect()
}
