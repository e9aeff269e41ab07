//! The functions of Alertmanager's notification templates.

use super::{Call, Functions, escape, prometheus, text};
use crate::json;
use crate::print;
use crate::time::Time;
use crate::value::Value;

/// Every function; `now` is what `since` counts from.
pub fn functions(now: Time) -> Functions<'static> {
    let mut functions = Functions::new();
    text::insert(&mut functions);
    insert_lists(&mut functions);
    functions.insert("title", |call| text::map(call, |text| text::title(text, true)));
    functions.insert("trimSpace", |call| text::map(call, |text| text.trim().to_owned()));
    functions.insert("safeUrl", |call| text::map(call, str::to_owned));
    functions.insert("urlUnescape", |call| {
        call.expect(1)?;
        escape::query_unescape(call.text(0)?).map(Value::from)
    });
    functions.insert("humanizeDuration", prometheus::humanize_duration);
    functions.insert("toJson", |call| {
        call.expect(1)?;
        json::write(call.value(0)?, call.text_limit()).map(Value::from)
    });
    functions.insert("date", |call| {
        call.expect(2)?;
        Ok(time(call, 1)?.format(call.text(0)?).into())
    });
    functions.insert("tz", |call| {
        call.expect(2)?;
        Ok(time(call, 1)?.in_zone(call.text(0)?)?.into())
    });
    functions.insert("since", move |call| {
        call.expect(1)?;
        Ok(Value::Duration(now.since(time(call, 0)?)))
    });
    functions
}

fn time<'a>(call: &'a Call<'_>, index: usize) -> Result<&'a Time, String> {
    match call.value(index)? {
        Value::Time(time) => Ok(time),
        other => Err(super::wrong_type("time.Time", other)),
    }
}

fn insert_lists(functions: &mut Functions<'_>) {
    functions.insert("join", |call| {
        call.expect(2)?;
        let separator = call.text(0)?;
        let mut joined = String::new();
        for (index, item) in call.items(1)?.iter().enumerate() {
            if index > 0 {
                joined.push_str(separator);
            }
            joined.push_str(&print::print(item, call.text_limit())?);
            if joined.len() > call.text_limit() {
                return Err(format!("the text exceeds the limit of {} bytes", call.text_limit()));
            }
        }
        Ok(joined.into())
    });
    functions.insert("stringSlice", |call| {
        for index in 0..call.arguments().len() {
            call.text(index)?;
        }
        Ok(Value::list(call.arguments().to_vec()))
    });
    functions.insert("list", |call| Ok(Value::list(call.arguments().to_vec())));
    functions.insert("append", |call| {
        let mut items = call.items(0)?;
        call.charge(64 * items.len())?;
        items.extend_from_slice(&call.arguments()[1..]);
        Ok(Value::list(items))
    });
    functions.insert("dict", |call| {
        if !call.arguments().len().is_multiple_of(2) {
            return Err("dict expects pairs of keys and values".to_owned());
        }
        let pairs = (0..call.arguments().len()).step_by(2);
        let entries = pairs.map(|at| Ok((call.text(at)?.to_owned(), call.arguments()[at + 1].clone())));
        Ok(Value::map(entries.collect::<Result<_, String>>()?))
    });
}
