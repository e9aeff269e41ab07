//! Functions on text that both sets share.

use super::{Call, Functions};
use crate::value::Value;

pub(super) fn insert(functions: &mut Functions<'_>) {
    functions.insert("toUpper", |call| map(call, |text| case(text, char::to_uppercase)));
    functions.insert("toLower", |call| map(call, |text| case(text, char::to_lowercase)));
    functions.insert("safeHtml", |call| {
        call.expect(1)?;
        Ok(Value::Html(call.text(0)?.into()))
    });
    functions.insert("match", |call| {
        call.expect(2)?;
        let pattern = call.text(0)?.to_owned();
        let regex = call.regex(&pattern)?;
        let text = call.text(1)?.to_owned();
        call.charge(text.len())?;
        Ok(regex.is_match(&text).into())
    });
    functions.insert("reReplaceAll", replace_all);
}

pub(super) fn map(call: &Call<'_>, change: impl FnOnce(&str) -> String) -> Result<Value, String> {
    call.expect(1)?;
    Ok(change(call.text(0)?).into())
}

/// Letter by letter as Go does it: what would become several letters (`ß`) stays.
fn case<I: ExactSizeIterator<Item = char>>(text: &str, change: fn(char) -> I) -> String {
    let one = |letter: char| {
        let mut changed = change(letter);
        if changed.len() == 1 { changed.next().unwrap_or(letter) } else { letter }
    };
    text.chars().map(one).collect()
}

/// What a match costs, in bytes of work.
const MATCH_BYTES: usize = 64;

/// Replaces match by match, so that a long replacement cannot outgrow the limit.
fn replace_all(call: &mut Call<'_>) -> Result<Value, String> {
    call.expect(3)?;
    let pattern = call.text(0)?.to_owned();
    let regex = call.regex(&pattern)?;
    let (replacement, text) = (call.text(1)?.to_owned(), call.text(2)?.to_owned());
    let mut result = String::with_capacity(text.len());
    let mut end = 0;
    for captures in regex.captures_iter(&text) {
        call.charge(MATCH_BYTES)?;
        let Some(whole) = captures.get(0) else { continue };
        result.push_str(&text[end..whole.start()]);
        captures.expand(&replacement, &mut result);
        end = whole.end();
        if result.len() > call.text_limit() {
            return Err(format!("the text exceeds the limit of {} bytes", call.text_limit()));
        }
    }
    result.push_str(&text[end..]);
    Ok(result.into())
}

/// The first letter of each word in upper case.
pub(super) fn title(text: &str, lower_rest: bool) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut in_word = false;
    for character in text.chars() {
        if !character.is_alphanumeric() && !matches!(character, '_' | '\'') {
            in_word = false;
            titled.push(character);
        } else if in_word {
            if lower_rest { titled.extend(character.to_lowercase()) } else { titled.push(character) }
        } else {
            in_word = true;
            titled.extend(character.to_uppercase());
        }
    }
    titled
}
