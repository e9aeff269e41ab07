//! Which failures may pass, how long they are waited for, and how they are told.

use std::time::Duration;

use object_store::Error as StoreError;

use crate::backup::refused;
use crate::error::Error;

/// Characters of what an object store says that are told.
const SAID_CHARS_MAX: usize = 400;

/// How often and for how long a request is tried.
#[derive(Clone, Copy, Debug)]
pub(in crate::backup) struct Retries {
    /// Tries, the first one included.
    pub(in crate::backup) tries: u32,
    /// The pause after the first failure; each later one is twice as long.
    pub(in crate::backup) first_pause: Duration,
    /// The longest pause.
    pub(in crate::backup) pause_max: Duration,
    /// The longest that one try may take.
    pub(in crate::backup) try_max: Duration,
}

impl Retries {
    /// Half a minute of pauses: an overloaded service, a change of routes.
    pub(in crate::backup) const USUAL: Self = Self {
        tries: 8,
        first_pause: Duration::from_millis(250),
        pause_max: Duration::from_secs(8),
        try_max: Duration::from_secs(180),
    };

    /// Tries until it succeeds, fails for good, or was tried often enough.
    pub(super) async fn run<T, F>(&self, what: &str, mut attempt: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = self.first_pause;
        let mut tries = 1;
        loop {
            match self.bounded(attempt()).await {
                Ok(value) => return Ok(value),
                Err(error) if tries < self.tries && may_pass(&error) => {
                    tracing::debug!(what, %error, tries, "an object store failed; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(self.pause_max);
                    tries += 1;
                }
                Err(error) => return Err(told(what, &error, tries)),
            }
        }
    }

    /// One try, for a bounded time.
    pub(super) async fn bounded<T>(
        &self,
        attempt: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let timeout = || format!("no answer within {} s", self.try_max.as_secs()).into();
        tokio::time::timeout(self.try_max, attempt)
            .await
            .unwrap_or_else(|_| Err(StoreError::Generic { store: "backup", source: timeout() }))
    }
}

/// Whether a later try may succeed.
pub(super) fn may_pass(error: &StoreError) -> bool {
    match error {
        StoreError::Generic { .. } => {
            let text = chain(error);
            match status(&text) {
                Some(status) => matches!(status, 408 | 429 | 500 | 502..=599) || is_slow(&text),
                None => !asks_instance(&text) && !text.contains("redirect without LOCATION"),
            }
        }
        StoreError::JoinError { .. } => true,
        _ => false,
    }
}

/// S3 says with status 400 that a request came too slowly, and that a token has just been renewed.
fn is_slow(text: &str) -> bool {
    matches!(element(text, "Code"), Some("RequestTimeout" | "SlowDown" | "Throttling"))
}

/// Without keys the client asks the machine for those of an instance of EC2. Where there is none, nobody answers, ever.
fn asks_instance(text: &str) -> bool {
    text.contains("/latest/api/token") || text.contains("/latest/meta-data/")
}

/// The status of HTTP that is named in an error, which its type does not give away.
fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// The text of an element of the XML that S3 answers with.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(content, _)| content)
}

/// What to say and what to do. Of an answer of S3 only its code and message are told: the rest may repeat signed headers.
pub(super) fn told(what: &str, error: &StoreError, tries: u32) -> Error {
    let text = chain(error);
    let said = match (element(&text, "Code"), element(&text, "Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => text.split("<?xml").next().unwrap_or_default().trim_end_matches([' ', ':']).to_owned(),
    };
    let said: String = said.chars().take(SAID_CHARS_MAX).collect();
    let code = element(&text, "Code");
    let advice = match error {
        _ if asks_instance(&text) => {
            "no keys were given, and this machine has none of an instance of EC2; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
             AWS_PROFILE and AWS_SHARED_CREDENTIALS_FILE"
        }
        _ if code == Some("NoSuchBucket") => {
            "there is no such bucket; make it, or check the name, AWS_REGION and AWS_ENDPOINT_URL"
        }
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            "access is denied; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and that they may list the \
             bucket and get, put and delete its objects"
        }
        StoreError::NotFound { .. } => {
            "it is not there; somebody removed it, or the backup was carried here incompletely"
        }
        error if may_pass(error) && tries > 1 => {
            "the object store cannot be reached or is overloaded; check AWS_ENDPOINT_URL and the network and run the command \
             again: parts that were sent are not sent again"
        }
        _ => "check AWS_REGION, AWS_ENDPOINT_URL and what the object store supports",
    };
    let times = if tries > 1 { format!(" (tried {tries} times)") } else { String::new() };
    refused(format!("cannot {what}{times}: {advice}. It said: {said}"))
}

/// An error with its causes, of which the client of HTTP keeps the telling one last.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> StoreError {
        StoreError::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
        for (text, expected) in [
            ("connection refused", true),
            ("Server returned non-2xx status code: 503 Service Unavailable: ", true),
            ("Server returned non-2xx status code: 429 Too Many Requests: ", true),
            ("Server returned non-2xx status code: 400 Bad Request: <Code>RequestTimeout</Code>", true),
            ("Server returned non-2xx status code: 400 Bad Request: <Code>InvalidArgument</Code>", false),
            ("Server returned non-2xx status code: 501 Not Implemented: ", false),
            ("Received redirect without LOCATION, this normally indicates an incorrectly configured region", false),
            ("Error performing PUT http://169.254.169.254/latest/api/token in 1s - error sending request", false),
        ] {
            assert_eq!(may_pass(&generic(text)), expected, "{text}");
        }
        let denied = StoreError::PermissionDenied { path: "a".into(), source: "403".into() };
        assert!(!may_pass(&denied));
    }

    #[test]
    fn an_answer_is_told_without_the_headers_that_it_repeats() {
        let body = "status code: 403 Forbidden: <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code>\
                    <Message>The signature is another one.</Message><CanonicalRequest>x-amz-security-token:geheim</CanonicalRequest></Error>";
        let error = StoreError::PermissionDenied { path: "a".into(), source: body.into() };
        let text = told("list s3://b", &error, 1).to_string();
        assert!(text.contains("SignatureDoesNotMatch: The signature is another one."), "{text}");
        assert!(text.contains("access is denied") && !text.contains("geheim"), "{text}");
        let cut = StoreError::PermissionDenied { path: "a".into(), source: "403: <?xml?><Canonical>geheim".into() };
        assert!(!told("list s3://b", &cut, 1).to_string().contains("geheim"));
    }
}
