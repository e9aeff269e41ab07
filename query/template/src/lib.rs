//! Go's `text/template` language, as rule annotations and notification templates use it.
//!
//! Knows neither rules nor notifications: data come as values, functions beyond the built-in ones from the caller. Work,
//! depth and output are bounded, because templates come from users and run on every evaluation.
