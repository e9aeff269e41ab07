use super::*;

fn rule(action: Action) -> Rule {
    Rule {
        action,
        source_labels: Vec::new(),
        separator: ";".into(),
        regex: anchored("(.*)").expect("the default regex"),
        target_label: String::new(),
        replacement: "$1".into(),
        modulus: 0,
    }
}

fn from(action: Action, sources: &[&str], regex: &str) -> Rule {
    Rule {
        source_labels: sources.iter().map(|name| (*name).to_owned()).collect(),
        regex: anchored(regex).expect("a regex"),
        ..rule(action)
    }
}

fn to(target: &str, replacement: &str, rule: Rule) -> Rule {
    Rule { target_label: target.into(), replacement: replacement.into(), ..rule }
}

/// Name, labels before, rules, labels after or `None` when dropped.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Vec<Rule>, Option<&'a [(&'a str, &'a str)]>);

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_table_of_cases() {
    use Action::{
        Drop, DropEqual, HashMod, Keep, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase,
    };
    let cases: Vec<Case<'_>> = vec![
        (
            "replace with a group",
            &[("a", "foo"), ("b", "bar")],
            vec![to("d", "ch${1}-ch${1}", from(Replace, &["a"], "f(.*)"))],
            Some(&[("a", "foo"), ("b", "bar"), ("d", "choo-choo")]),
        ),
        (
            "source labels are joined by the separator, a missing one is empty",
            &[("a", "x"), ("c", "z")],
            vec![to("all", "$1", from(Replace, &["a", "b", "c"], "(x;;z)"))],
            Some(&[("a", "x"), ("all", "x;;z"), ("c", "z")]),
        ),
        (
            "the regex is anchored",
            &[("a", "foobar")],
            vec![to("d", "yes", from(Replace, &["a"], "foo"))],
            Some(&[("a", "foobar")]),
        ),
        (
            "alternatives are anchored as a whole",
            &[("a", "foobar")],
            vec![to("d", "yes", from(Replace, &["a"], "foo|bar"))],
            Some(&[("a", "foobar")]),
        ),
        (
            "the dot matches line ends",
            &[("a", "x\ny")],
            vec![to("d", "yes", from(Replace, &["a"], "x.y"))],
            Some(&[("a", "x\ny"), ("d", "yes")]),
        ),
        (
            "a named group",
            &[("a", "web-7")],
            vec![to("role", "${role}", from(Replace, &["a"], "(?P<role>[a-z]+)-.*"))],
            Some(&[("a", "web-7"), ("role", "web")]),
        ),
        (
            "a group that does not exist is empty, an empty replacement removes",
            &[("a", "x"), ("d", "old")],
            vec![to("d", "$7", from(Replace, &["a"], "(x)"))],
            Some(&[("a", "x")]),
        ),
        (
            "$1x names the group 1x",
            &[("a", "v")],
            vec![to("d", "$1x", from(Replace, &["a"], "(v)")), to("e", "$$1", from(Replace, &["a"], "(v)"))],
            Some(&[("a", "v"), ("e", "$1")]),
        ),
        (
            "the target label may hold groups",
            &[("a", "some-name-value")],
            vec![to("${1}", "${2}", from(Replace, &["a"], "some-([^-]+)-([^,]+)"))],
            Some(&[("a", "some-name-value"), ("name", "value")]),
        ),
        ("keep what matches", &[("a", "foo")], vec![from(Keep, &["a"], "fo+")], Some(&[("a", "foo")])),
        ("keep drops the rest", &[("a", "foo")], vec![from(Keep, &["a"], "bar")], None),
        ("drop what matches", &[("a", "foo")], vec![from(Drop, &["a"], "fo.*")], None),
        ("drop keeps the rest", &[("a", "foo")], vec![from(Drop, &["a"], "f")], Some(&[("a", "foo")])),
        (
            "a dropped set is not rewritten further",
            &[("a", "foo")],
            vec![from(Drop, &["a"], ".*o.*"), to("d", "x", from(Replace, &["a"], ".*"))],
            None,
        ),
        (
            "keepequal keeps what is equal",
            &[("__tmp_port", "1234"), ("port", "1234")],
            vec![to("port", "$1", from(KeepEqual, &["__tmp_port"], "(.*)"))],
            Some(&[("__tmp_port", "1234"), ("port", "1234")]),
        ),
        (
            "keepequal drops what differs",
            &[("__tmp_port", "1234"), ("port", "5678")],
            vec![to("port", "$1", from(KeepEqual, &["__tmp_port"], "(.*)"))],
            None,
        ),
        (
            "dropequal drops what is equal",
            &[("__tmp_port", "1234"), ("port", "1234")],
            vec![to("port", "$1", from(DropEqual, &["__tmp_port"], "(.*)"))],
            None,
        ),
        (
            "dropequal keeps what differs",
            &[("a", "1"), ("port", "2")],
            vec![to("port", "$1", from(DropEqual, &["a"], "(.*)"))],
            Some(&[("a", "1"), ("port", "2")]),
        ),
        (
            "hashmod takes the last half of the MD5 sum",
            &[("c", "baz")],
            vec![Rule { modulus: 1000, ..to("d", "$1", from(HashMod, &["c"], "(.*)")) }],
            Some(&[("c", "baz"), ("d", "976")]),
        ),
        (
            "labelmap copies",
            &[("a", "foo"), ("__meta_my_bar", "aaa"), ("__meta_my_baz", "bbb")],
            vec![from(LabelMap, &[], "__meta_(my_.*)")],
            Some(&[
                ("__meta_my_bar", "aaa"),
                ("__meta_my_baz", "bbb"),
                ("a", "foo"),
                ("my_bar", "aaa"),
                ("my_baz", "bbb"),
            ]),
        ),
        (
            "labeldrop",
            &[("a", "foo"), ("b1", "x"), ("b2", "y")],
            vec![from(LabelDrop, &[], "b.*")],
            Some(&[("a", "foo")]),
        ),
        (
            "labelkeep",
            &[("a", "foo"), ("b1", "x"), ("b2", "y")],
            vec![from(LabelKeep, &[], "b.*")],
            Some(&[("b1", "x"), ("b2", "y")]),
        ),
        (
            "lowercase and uppercase",
            &[("a", "Foo")],
            vec![to("low", "$1", from(Lowercase, &["a"], "(.*)")), to("up", "$1", from(Uppercase, &["a"], "(.*)"))],
            Some(&[("a", "Foo"), ("low", "foo"), ("up", "FOO")]),
        ),
        (
            "UTF-8 names",
            &[("service.name", "shop")],
            vec![to("service", "$1", from(Replace, &["service.name"], "(.*)"))],
            Some(&[("service", "shop"), ("service.name", "shop")]),
        ),
    ];
    for (name, before, rules, after) in cases {
        let set = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut labels = set(before);
        let is_kept = apply(&rules, &mut labels);
        BTreeMap::retain(&mut labels, |_, value| !value.is_empty());
        assert_eq!(is_kept.then_some(labels), after.map(set), "{name}");
    }
}

#[test]
fn a_regex_cannot_break_out_of_its_anchors() {
    assert!(anchored("a)|(b").is_err());
    assert!(anchored("(").is_err());
}

#[test]
fn a_rule_is_read_strictly() {
    let read = |json: &str| serde_json::from_str::<RuleSpec>(json).map(Rule::new);
    let error = |json: &str| read(json).expect("a rule").expect_err("refused").key;
    assert_eq!(error(r#"{"action": "jump"}"#), "action");
    assert_eq!(error(r#"{"regex": "(", "target_label": "x"}"#), "regex");
    assert_eq!(error("{}"), "target_label");
    assert_eq!(error(r#"{"action": "HashMod", "target_label": "x"}"#), "modulus");
    assert!(read(r#"{"target": "x"}"#).is_err());
    assert_eq!(read(r#"{"target_label": "x"}"#).expect("a rule"), Ok(to("x", "$1", rule(Action::Replace))));
}
