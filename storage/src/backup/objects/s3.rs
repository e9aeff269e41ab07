//! The client of S3, from its address and the environment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{ClientOptions, RetryConfig};

use super::{Objects, Retries, profile};
use crate::backup::refused;
use crate::error::Error;

/// The beginning of an address.
pub(in crate::backup) const SCHEME: &str = "s3://";

/// A request of a chunk, on a line of 1 Mbit/s.
const REQUEST_MAX: Duration = Duration::from_secs(120);

const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Opens `s3://bucket/prefix`. Nothing is asked of the network yet.
pub(in crate::backup) fn open(address: &str, environment: &BTreeMap<String, String>) -> Result<Objects, Error> {
    let (bucket, prefix) = split(address)?;
    let name = if prefix.is_empty() { format!("{SCHEME}{bucket}") } else { format!("{SCHEME}{bucket}/{prefix}") };
    let allows_http = environment.get("AWS_ALLOW_HTTP").is_some_and(|value| matches!(value.as_str(), "true" | "1"));
    let endpoint = environment.get("AWS_ENDPOINT_URL_S3").or_else(|| environment.get("AWS_ENDPOINT_URL"));
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) && !allows_http {
        return Err(refused(
            "AWS_ENDPOINT_URL begins with http://, so that everything would travel readable for others; give an https:// address, or set \
             AWS_ALLOW_HTTP=true if that is wanted",
        ));
    }
    let options =
        ClientOptions::new().with_timeout(REQUEST_MAX).with_connect_timeout(CONNECT_MAX).with_user_agent(http_agent()?);
    // What is tried again, and for how long, is decided in one place, above the client.
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new().with_client_options(options).with_retry(retry);
    for (name, value) in environment.iter().filter(|(_, value)| !value.is_empty()) {
        let is_known = name.starts_with("AWS_").then(|| name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>().ok());
        if let Some(key) = is_known.flatten() {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(keys) = profile::read(environment)? {
        builder = builder.with_access_key_id(keys.id).with_secret_access_key(keys.secret);
        if let Some(token) = keys.token {
            builder = builder.with_token(token);
        }
    }
    let store = builder.with_bucket_name(bucket).build();
    let store =
        store.map_err(|error| refused(format!("cannot use {name} with the AWS_ variables as they are: {error}")))?;
    Ok(Objects::new(Arc::new(store), prefix, name, Retries::USUAL))
}

fn http_agent() -> Result<object_store::HeaderValue, Error> {
    object_store::HeaderValue::from_str(concat!("trivium/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| Error::Internal(error.to_string()))
}

/// Bucket and prefix.
fn split(address: &str) -> Result<(&str, &str), Error> {
    let rest = address.strip_prefix(SCHEME).unwrap_or_default();
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_end_matches('/');
    let is_plain =
        |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | '+'));
    let is_sound = !bucket.is_empty()
        && is_plain(bucket)
        && (prefix.is_empty()
            || prefix.split('/').all(|part| !part.is_empty() && !matches!(part, "." | "..") && is_plain(part)));
    if !is_sound {
        return Err(refused(format!(
            "{address} is no address of a backup; give s3://BUCKET or s3://BUCKET/PREFIX with letters, digits and -_.=+ in their names"
        )));
    }
    Ok((bucket, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn an_address_has_a_bucket_and_perhaps_a_prefix() {
        assert_eq!(split("s3://b").expect("sound"), ("b", ""));
        assert_eq!(split("s3://b/").expect("sound"), ("b", ""));
        assert_eq!(split("s3://b/one/two/").expect("sound"), ("b", "one/two"));
        for address in ["s3://", "s3:///x", "s3://b//x", "s3://b/../x", "s3://b/x?y", "s3://user:pass@b"] {
            assert!(split(address).expect_err(address).to_string().contains("no address of a backup"));
        }
    }

    #[test]
    fn http_needs_to_be_allowed_and_nothing_that_is_secret_is_in_any_text() {
        let plain = environment(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]);
        assert!(open("s3://b", &plain).expect_err("refused").to_string().contains("AWS_ALLOW_HTTP=true"));
        let pairs = [
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "kennung"),
            ("AWS_SECRET_ACCESS_KEY", "geheim"),
            ("AWS_SESSION_TOKEN", "marke"),
        ];
        let objects = open("s3://b/p", &environment(&pairs)).expect("opened");
        let text = format!("{objects:?}");
        assert!(text.contains("s3://b/p") && !text.contains("geheim") && !text.contains("marke"), "{text}");
        let half = environment(&[("AWS_SECRET_ACCESS_KEY", "geheim")]);
        let text = open("s3://b", &half).expect_err("no id").to_string();
        assert!(text.contains("s3://b") && !text.contains("geheim"), "{text}");
    }
}
