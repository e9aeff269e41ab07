//! The patterns that have a name.

use crate::text::Finder;

/// The names, in the order in which they are documented.
pub const NAMES: [&str; 11] = [
    "credit_card",
    "email",
    "jwt",
    "authorization",
    "aws_access_key",
    "private_key",
    "iban",
    "ipv4",
    "api_token",
    "url_credentials",
    "secret_assignment",
];

/// What a pattern is made of; `None` for a name that is none.
pub(crate) fn finders(name: &str) -> Option<Result<Vec<Finder>, String>> {
    let expressions: &[&str] = match name {
        "credit_card" => return Some(Ok(vec![Finder::Card])),
        "email" => return Some(Ok(vec![Finder::Email])),
        "iban" => return Some(Ok(vec![Finder::Iban])),
        // Header and payload are objects, so that both begin with `eyJ`; an encrypted one has four parts behind the header.
        "jwt" => &[r"(?-u)eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,3}"],
        "authorization" => &[
            r#"(?i-u)authorization["']?\s*[:=]\s*["']?(?:(?:bearer|basic|token|digest|apikey)\s+)?(?P<secret>[A-Za-z0-9+/._~=-]{6,})"#,
            // Prose has "basic information"; a credential has a digit, a sign or a capital inside.
            r"(?-u)(?:[Bb]earer|BEARER|[Bb]asic|BASIC)[ \t]+(?P<secret>[A-Za-z0-9+/._~-]+[A-Z0-9+/_=~][A-Za-z0-9+/._~-]{4,}={0,2}|[A-Za-z0-9+/._~-]{5,}[A-Z0-9+/_~][A-Za-z0-9+/._~-]*={0,2})",
        ],
        "aws_access_key" => &[
            r"(?-u)\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA|AGPA|AIPA|ANPA|ANVA)[A-Z2-7]{16}\b",
            r#"(?i-u)aws.{0,2}secret.{0,2}access.{0,2}key["']?\s*[:=]\s*["']?(?P<secret>[A-Za-z0-9/+]{40})"#,
        ],
        // A key that is cut off ends with the text.
        "private_key" => {
            &[r"(?s-u)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]{0,60}-----|\z)"]
        }
        "ipv4" => &[r"(?-u)\b(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\b"],
        "api_token" => &[
            r"(?-u)\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{36,}|glpat-[A-Za-z0-9_-]{20,})",
            r"(?-u)\b(?:xox[abeoprs]-[A-Za-z0-9-]{10,}|sk_live_[A-Za-z0-9]{16,}|rk_live_[A-Za-z0-9]{16,}|sk-ant-[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{35}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})",
        ],
        "url_credentials" => &[r"(?-u)://[^\s/:@?#]{0,256}:(?P<secret>[^\s/@]{1,256})@"],
        "secret_assignment" => &[
            r#"(?i-u)(?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret)["']?\s*[:=]\s*["']?(?P<secret>[^\s"',;&}\]]+)"#,
        ],
        _ => return None,
    };
    Some(expressions.iter().map(|expression| Finder::regex(expression)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str) -> Vec<String> {
        let mut list = Vec::new();
        for finder in finders(name).expect("a name").expect("a pattern") {
            finder.find(text.as_bytes(), &mut |range| {
                list.push(String::from_utf8_lossy(&text.as_bytes()[range]).into_owned());
            });
        }
        list.sort();
        list.dedup();
        list
    }

    #[test]
    fn every_name_is_a_pattern() {
        for name in NAMES {
            assert!(finders(name).expect("a name").is_ok(), "{name}");
        }
        assert!(finders("passport").is_none());
    }

    #[test]
    fn what_is_secret_is_found() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-128-CBC\n\nMIIEow\n-----END RSA PRIVATE KEY-----";
        for (name, text, expected) in [
            ("jwt", format!("token {jwt} end"), jwt),
            ("authorization", "Authorization: Bearer abc-def.ghi_123".to_owned(), "abc-def.ghi_123"),
            ("authorization", r#"{"authorization":"Basic dXNlcjpwYXNz"}"#.to_owned(), "dXNlcjpwYXNz"),
            ("authorization", "sent bearer 0123456789abcdef to".to_owned(), "0123456789abcdef"),
            ("authorization", "with basic dXNlcjpwYXNz ".to_owned(), "dXNlcjpwYXNz"),
            ("aws_access_key", "key AKIAIOSFODNN7EXAMPLE!".to_owned(), "AKIAIOSFODNN7EXAMPLE"),
            (
                "aws_access_key",
                format!("AWS_SECRET_ACCESS_KEY={}", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            ),
            ("private_key", format!("before {pem} behind"), pem),
            ("private_key", "x -----BEGIN PRIVATE KEY-----\\nMIIE".to_owned(), "-----BEGIN PRIVATE KEY-----\\nMIIE"),
            ("ipv4", "from 10.0.254.255:80".to_owned(), "10.0.254.255"),
            ("api_token", format!("ghp_{}", "a1".repeat(18)), &format!("ghp_{}", "a1".repeat(18))),
            ("api_token", "xoxb-1234567890-abc".to_owned(), "xoxb-1234567890-abc"),
            ("url_credentials", "postgres://shop:hunter2@db:5432/x".to_owned(), "hunter2"),
            ("secret_assignment", r#"{"password": "hunter2", "a": 1}"#.to_owned(), "hunter2"),
            ("secret_assignment", "?api_key=k1&x=2".to_owned(), "k1"),
            ("secret_assignment", "Client-Secret: s3cr3t".to_owned(), "s3cr3t"),
        ] {
            assert_eq!(found(name, &text), [expected], "{name}: {text}");
        }
    }

    #[test]
    fn what_is_not_is_not() {
        for (name, text) in [
            ("jwt", "eyJ is how they begin"),
            ("authorization", "some basic information about bearer instruments"),
            ("aws_access_key", "AKIAIOSFODNN7EXAMPLEX"),
            ("private_key", "-----BEGIN CERTIFICATE-----\nMIIE"),
            ("ipv4", "version 1.2.3 of 256.1.1.1.1x"),
            ("url_credentials", "https://example.com:443/a@b"),
            ("secret_assignment", "the password was wrong"),
        ] {
            assert_eq!(found(name, text), [] as [String; 0], "{name}: {text}");
        }
    }
}
