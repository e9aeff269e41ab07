use super::{Matcher, Matchers};
use crate::labels::Labels;

fn show(text: &str) -> String {
    match Matchers::parse(text) {
        Ok(matchers) => matchers.to_string(),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn both_syntaxes_are_read() {
    let cases = [
        ("", "{}"),
        ("{}", "{}"),
        ("foo=bar", r#"{foo="bar"}"#),
        (r#"{foo = "bar", dings != "bums", }"#, r#"{foo="bar",dings!="bums"}"#),
        ("foo=bar,dings!=bums", r#"{foo="bar",dings!="bums"}"#),
        (r#"{quote="She said: \"Hi, ladies!\""}"#, r#"{quote="She said: \"Hi, ladies!\""}"#),
        (r#"statuscode=~"5..""#, r#"{statuscode=~"5.."}"#),
        ("job=", r#"{job=""}"#),
        (r"path=C:\x", r#"{path="C:\\x"}"#),
        (r#""service.name"="cart""#, r#"{service.name="cart"}"#),
        ("service.name=cart", r#"{service.name="cart"}"#),
        (r#"{"a b"!~"c|d"}"#, r#"{"a b"!~"c|d"}"#),
        ("Σ=1", r#"{Σ="1"}"#),
    ];
    for (text, expected) in cases {
        assert_eq!(show(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_matcher_is_refused() {
    for text in
        ["foo", "=bar", "foo==", "{foo=bar", r#"foo="bar"#, "foo=~(", "a.b", "a.b!c", "{a.b=c", "a.b=c}", "a.b=\"\\q\""]
    {
        let shown = show(text);
        // The classic syntax strips one brace at either end, and so takes half of a pair.
        let is_lenient = text == "{foo=bar" || text == "foo==";
        assert_eq!(shown.starts_with("error"), !is_lenient, "{text}: {shown}");
    }
    assert!(Matcher::parse("a=b,c=d").is_err());
    assert!(show(&"a=b,".repeat(300)).starts_with("error: 300 matchers"));
}

#[test]
fn a_missing_label_is_empty_and_a_regex_is_whole() {
    let labels: Labels = [("job", "api-1")].into_iter().collect();
    let cases = [
        ("job=~api", false),
        ("job=~\"api-.\"", true),
        ("job!~api", true),
        ("zone=\"\"", true),
        ("zone=~\".*\"", true),
        ("zone!=eu", true),
        ("zone=~\".+\"", false),
        ("job=~\"x|api-1\"", true),
    ];
    for (text, expected) in cases {
        assert_eq!(Matchers::parse(text).unwrap().matches(&labels), expected, "{text}");
    }
}
