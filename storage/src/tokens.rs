//! How text is cut into tokens, one rule for everything that indexes or searches text.
//!
//! A token is a maximal run of letters, digits and `_` (Unicode `is_alphanumeric`), in lower case. A token is either an
//! **ID token** (high entropy: it goes to the ID index) or a **word** (it goes to Tantivy for logs).
