//! The severity classes of OpenTelemetry: six names, four numbers each.

use super::suggest::edit_distance;

/// The names of the classes by their index; `unspecified` is number 0 with a text that is no name either.
pub const CLASSES: [&str; 7] = ["unspecified", "trace", "debug", "info", "warn", "error", "fatal"];

/// What people may write for a severity.
pub const KNOWN: &str = "trace, debug, info, warn, error, fatal, or a number from 1 to 24";

/// The lowest number of each class, and its names, those of other logging systems included.
static NAMES: [(i32, &[&str]); 6] = [
    (1, &["trace", "trc", "verbose", "finest"]),
    (5, &["debug", "dbg", "finer", "fine"]),
    (9, &["info", "inf", "information", "informational", "notice", "config"]),
    (13, &["warn", "warning", "wrn"]),
    (17, &["error", "err", "severe"]),
    (21, &["fatal", "ftl", "critical", "crit", "emerg", "emergency", "alert", "panic"]),
];

/// How many [`CLASSES`] there are.
pub const CLASS_COUNT: usize = CLASSES.len();

/// The index in [`CLASSES`] of a `severity_number`; numbers outside 1..=24 are unspecified.
pub fn class_of_number(number: i32) -> usize {
    if (1..=24).contains(&number) { usize::try_from((number - 1) / 4 + 1).unwrap_or(0) } else { 0 }
}

/// The lowest and highest `severity_number` that a name stands for, in any case: `warn` is 13 to 16, `error2` is 18. Knows
/// the names of other logging systems too.
pub fn numbers_of_name(name: &str) -> Option<(i32, i32)> {
    let lower = name.trim().to_ascii_lowercase();
    let (stem, step) = match lower.strip_suffix(['1', '2', '3', '4']) {
        Some(stem) => (stem, lower.bytes().last().map(|digit| i32::from(digit - b'1'))),
        None => (lower.as_str(), None),
    };
    let (first, _) = NAMES.iter().find(|(_, names)| names.contains(&stem))?;
    Some(step.map_or((*first, first + 3), |step| (first + step, first + step)))
}

/// The class whose name somebody may have meant who wrote this one.
pub fn nearest_class(text: &str) -> Option<&'static str> {
    let lower = text.trim().to_ascii_lowercase();
    let allowed = (lower.chars().count() / 4).clamp(1, 3);
    let names = NAMES.iter().flat_map(|(first, names)| names.iter().map(move |name| (*first, *name)));
    let close = names.filter_map(|(first, name)| Some((edit_distance(&lower, name, allowed)?, first)));
    close.min().map(|(_, first)| CLASSES[class_of_number(first)])
}

/// The number that a record counts as: `severity_number`, or when that is unspecified the lowest number of the name in
/// `severity_text`, else 0.
pub fn effective_number(number: i32, text: Option<&str>) -> i32 {
    if number != 0 {
        return number;
    }
    text.and_then(numbers_of_name).map_or(0, |(first, _)| first)
}

/// The bound of a comparison: a name or a number.
pub fn bound_numbers(text: &str) -> Option<(i32, i32)> {
    numbers_of_name(text).or_else(|| text.trim().parse().ok().map(|number| (number, number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cover_four_numbers_each_and_their_numbered_forms_one() {
        assert_eq!(numbers_of_name("WARN"), Some((13, 16)));
        assert_eq!(numbers_of_name("Error2"), Some((18, 18)));
        assert_eq!(numbers_of_name("critical"), Some((21, 24)));
        assert_eq!(numbers_of_name("error5"), None);
        assert_eq!(numbers_of_name(""), None);
        assert_eq!(numbers_of_name(" Notice "), Some((9, 12)));
        for number in 1..=24 {
            let (first, last) = numbers_of_name(CLASSES[class_of_number(number)]).expect("a class name");
            assert!((first..=last).contains(&number), "{number}");
        }
    }

    #[test]
    fn a_name_that_is_nearly_right_is_known_by_its_class() {
        for (name, class) in
            [("eror", Some("error")), ("WARNNING", Some("warn")), ("inof", Some("info")), ("audit", None), ("", None)]
        {
            assert_eq!(nearest_class(name), class, "{name}");
        }
    }

    #[test]
    fn numbers_outside_the_specification_are_unspecified() {
        for number in [0, -1, 25, i32::MAX, i32::MIN] {
            assert_eq!(class_of_number(number), 0, "{number}");
        }
    }

    #[test]
    fn the_text_decides_only_when_there_is_no_number() {
        assert_eq!(effective_number(0, Some("ERROR")), 17);
        assert_eq!(effective_number(9, Some("ERROR")), 9);
        assert_eq!(effective_number(0, Some("odd")), 0);
    }
}
