//! Values of the configuration that cannot be invalid once they are read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tokio::io::AsyncReadExt;

use crate::matcher::{Matcher, Matchers};

/// What stands in place of a secret wherever one is shown.
pub(crate) const SECRET: &str = "<secret>";

/// Bytes of a file that holds a secret or certificates. A store of all public authorities has some 250 KiB.
const SECRET_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(SECRET)
    }
}

/// A secret in the configuration or in a file of its own, which is read again for each notification.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SecretSource {
    /// Written in the configuration.
    Inline(Secret),
    /// In a file.
    File(PathBuf),
}

impl SecretSource {
    /// Of the two ways to give a secret at most one may be taken.
    pub(super) fn choose(
        name: &str,
        inline: Option<Secret>,
        file: Option<String>,
        folder: &Path,
    ) -> Result<Option<Self>, String> {
        match (inline.filter(|secret| !secret.0.is_empty()), file.filter(|file| !file.is_empty())) {
            (Some(_), Some(_)) => Err(format!("at most one of {name} & {name}_file must be configured")),
            (Some(secret), None) => Ok(Some(Self::Inline(secret))),
            (None, file) => Ok(file.map(|file| Self::File(folder.join(file)))),
        }
    }

    /// The secret as it is at this moment: files are exchanged while we run.
    pub(crate) async fn reveal(&self) -> Result<String, String> {
        match self {
            Self::Inline(secret) => Ok(secret.0.clone()),
            Self::File(path) => {
                let bytes = read_small(path).await?;
                let text = String::from_utf8(bytes).map_err(|_| format!("{} is not text", path.display()))?;
                Ok(text.trim().to_owned())
            }
        }
    }

    /// Bytes of PEM.
    pub(crate) async fn bytes(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Inline(secret) => Ok(secret.0.clone().into_bytes()),
            Self::File(path) => read_small(path).await,
        }
    }

    /// What it is called in errors.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Inline(_) => "the configuration".into(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

async fn read_small(path: &Path) -> Result<Vec<u8>, String> {
    let read = async {
        let mut bytes = Vec::new();
        let file = tokio::fs::File::open(path).await?;
        file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = read.await.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!(
            "{} has more than {SECRET_BYTES_MAX} bytes; a secret or certificates are expected",
            path.display()
        ));
    }
    Ok(bytes)
}

/// A duration in Prometheus' syntax: `1d12h`, `30s`, `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Span(pub(crate) Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        duration(&text)
            .map(Self)
            .ok_or_else(|| format!("not a valid duration string: {text:?}; 30s or 1h30m is expected"))
    }
}

fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("ms", 1),
        ("m", 60_000),
        ("s", 1_000),
    ];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut total, mut last) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).filter(|digits| *digits > 0)?;
        let count: u64 = rest[..digits].parse().ok()?;
        let (unit, millis) = UNITS.iter().find(|(unit, _)| rest[digits..].starts_with(unit))?;
        if *millis >= last {
            return None;
        }
        last = *millis;
        total = total.checked_add(count.checked_mul(*millis)?)?;
        rest = &rest[digits + unit.len()..];
    }
    let is_kept = !text.is_empty() && total <= 100 * 365 * 86_400_000;
    is_kept.then(|| Duration::from_millis(total))
}

/// A URL that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct HttpUrl(pub(crate) String);

impl TryFrom<String> for HttpUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        check_url(&text).map(|()| Self(text))
    }
}

/// Says what is wrong without showing the URL, which may be a secret.
pub(crate) fn check_url(text: &str) -> Result<(), String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(host)) if !host.is_empty() => Ok(()),
        ("http" | "https", _) => Err("missing host for URL".into()),
        (scheme, _) => Err(format!("unsupported scheme {scheme:?} for URL; http or https is expected")),
    }
}

/// The list under `matchers`: each line may hold several.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(crate) struct MatcherList(pub(crate) Vec<Matcher>);

impl TryFrom<Vec<String>> for MatcherList {
    type Error = String;

    fn try_from(lines: Vec<String>) -> Result<Self, String> {
        let mut matchers = Vec::new();
        for line in lines {
            matchers.extend(Matchers::parse(&line).map_err(|error| error.to_string())?.0);
        }
        Ok(Self(matchers))
    }
}

/// In YAML a key with nothing behind it is the same as no key.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_are_those_of_prometheus() {
        let cases = [
            ("30s", Some(30_000)),
            ("1h30m", Some(5_400_000)),
            ("1d", Some(86_400_000)),
            ("100ms", Some(100)),
            ("1m1ms", Some(60_001)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("", None),
            ("5", None),
            ("1m1h", None),
            ("1.5h", None),
            ("-1s", None),
            ("99999999999999999999s", None),
        ];
        for (text, millis) in cases {
            assert_eq!(duration(text).map(|duration| duration.as_millis()), millis, "{text}");
        }
    }
}
