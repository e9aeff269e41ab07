use proptest::prelude::{Strategy, any, prop};

use super::{MatchOperator, Matcher, Matchers};
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
        (r#"{"\xce\xa3"="\101\u00e9\U0001f600"}"#, r#"{Σ="Aé😀"}"#),
        ("tab=\"a\tb\"", "{tab=\"a\tb\"}"),
        (r#"{"a=\"x\",b"="\t"}"#, r#"{"a=\"x\",b"="\t"}"#),
    ];
    for (text, expected) in cases {
        assert_eq!(show(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_matcher_is_refused() {
    for text in [r#""\xff"=a"#, r#""\400"=a"#, r#""\x1"=a"#, r#""\ud800"=a"#, r#""a\'"=b"#] {
        assert!(show(text).starts_with("error"), "{text}");
    }
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

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let name = prop::strategy::Union::new(["[a-z_:.0-9-]{1,6}", "[ -~\t\n\u{e9}\u{7f}\u{85}]{1,6}", "\\PC{1,4}"])
        .prop_filter("a name", |name| !name.is_empty());
    (name, any::<String>(), any::<bool>())
        .prop_map(|(name, value, is_equal)| Matcher::new(&name, MatchOperator::new(is_equal, false), &value).unwrap())
}

proptest::proptest! {
    /// Whatever a matcher is called and compares with, alone and among others.
    #[test]
    fn what_is_shown_is_read_back(matchers in prop::collection::vec(any_matcher(), 1..4)) {
        for matcher in &matchers {
            let shown = matcher.to_string();
            proptest::prop_assert_eq!(&Matcher::parse(&shown), &Ok(matcher.clone()), "{}", shown);
        }
        let all = Matchers(matchers);
        let shown = all.to_string();
        proptest::prop_assert_eq!(&Matchers::parse(&shown), &Ok(all), "{}", shown);
    }
}
