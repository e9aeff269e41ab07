//! API tokens: `trv_`, eight public characters, `_`, and 43 secret ones with 256 random bits.

use crate::error::Error;
use crate::secret::{SECRET_CHARS, Secret, random_text};

/// By which people and scanners of repositories know one.
pub(crate) const PREFIX: &str = "trv_";

const ID_CHARS: usize = 8;

/// A new token: its public part, and all of it.
pub(crate) fn new() -> Result<(String, Secret), Error> {
    let (id, secret) = (random_text(ID_CHARS)?, random_text(SECRET_CHARS)?);
    let token = Secret::new(format!("{PREFIX}{id}_{secret}"));
    Ok((id, token))
}

/// The public part of a text that has the form of a token.
pub(crate) fn id_of(token: &str) -> Option<&str> {
    let (id, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
    let is_text = |text: &str, chars| text.len() == chars && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_text(id, ID_CHARS) && is_text(secret, SECRET_CHARS)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_form() {
        let (id, token) = new().expect("randomness");
        assert_eq!(token.reveal().len(), 56);
        assert_eq!(id_of(token.reveal()), Some(id.as_str()));
        for wrong in ["", "trv_", "trv_abcdefgh", "trv_abcdefgh_", "trv_éééé_x", &format!("{}x", token.reveal())] {
            assert_eq!(id_of(wrong), None, "{wrong}");
        }
    }
}
