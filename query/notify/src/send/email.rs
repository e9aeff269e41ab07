//! Mail over SMTP.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailboxes, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, Identity, Tls, TlsParameters, TlsVersion};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::http::describe;
use super::policy::{OutgoingPolicy, Refused};
use super::text::Texts;
use crate::config::{Email, TlsVersions};
use crate::engine::{Notification, Outcome};

pub(crate) async fn send(
    to: &Email,
    notification: &Notification,
    texts: &Texts<'_>,
    policy: &Arc<OutgoingPolicy>,
    timeout: Duration,
) -> Outcome {
    let message = match compose(to, notification, texts) {
        Ok(message) => message,
        Err(problem) => return Outcome::Permanent(problem),
    };
    let (host, port) = (&to.smarthost.0, to.smarthost.1);
    let addresses = match policy.resolve(host, port).await {
        Ok(addresses) => addresses,
        Err(error) if error.is::<Refused>() => return Outcome::Permanent(error.to_string()),
        Err(error) => return Outcome::Transient { problem: format!("{host}: {error}"), after: None },
    };
    let mut outcome = Outcome::Permanent(format!("{host} has no address"));
    for address in addresses.iter().take(4) {
        let transport = match transport(to, &address.ip().to_string(), timeout).await {
            Ok(transport) => transport,
            Err(problem) => return Outcome::Permanent(problem),
        };
        outcome = match transport.send(message.clone()).await {
            Ok(_) => return Outcome::Sent,
            Err(error) if error.is_permanent() => return Outcome::Permanent(describe(&error)),
            Err(error) => Outcome::Transient { problem: describe(&error), after: None },
        };
    }
    outcome
}

async fn transport(to: &Email, address: &str, timeout: Duration) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let parameters = tls_parameters(to).await?;
    let tls = match (to.implicit_tls, to.require_tls) {
        (true, _) => Tls::Wrapper(parameters),
        (false, true) => Tls::Required(parameters),
        (false, false) => Tls::Opportunistic(parameters),
    };
    let hello = to.hello.clone().unwrap_or_else(|| "localhost".into());
    // Connects to the address that was checked; the name is for the certificate.
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address)
        .port(to.smarthost.1)
        .tls(tls)
        .hello_name(ClientId::Domain(hello))
        .timeout(Some(timeout));
    if !to.auth_username.is_empty() {
        let password = match &to.auth_password {
            Some(password) => password.reveal().await?,
            None => String::new(),
        };
        builder = builder
            .credentials(Credentials::new(to.auth_username.clone(), password))
            .authentication(vec![Mechanism::Plain, Mechanism::Login]);
    }
    Ok(builder.build())
}

async fn tls_parameters(to: &Email) -> Result<TlsParameters, String> {
    let name = to.tls.server_name.as_ref().unwrap_or(&to.smarthost.0);
    let mut parameters = TlsParameters::builder(name.clone());
    let failed = |name: String, error: &dyn Display| format!("tls_config: {name}: {error}");
    if let Some(source) = &to.tls.ca {
        let pem = source.bytes().await?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| failed(source.name(), &error))?;
        // These and no others: not those of the system.
        parameters = parameters.certificate_store(CertificateStore::None).add_root_certificate(certificate);
    }
    if let Some((certificate, key)) = &to.tls.identity {
        let chain = super::tls::certificates(certificate).await?;
        // What lettre calls PEM must be one certificate in DER: of a chain it shows the first.
        let (first, secret) = (chain.first().map_or(&[][..], |first| first.as_ref()), key.bytes().await?);
        // What is wrong with a key is not shown: it may be the key.
        let problem = "certificate and key do not make a client certificate";
        let identity = Identity::from_pem(first, &secret).map_err(|_| failed(key.name(), &problem))?;
        parameters = parameters.identify_with(identity);
    }
    if to.tls.versions == TlsVersions::Only13 {
        parameters = parameters.set_min_tls_version(TlsVersion::Tlsv13);
    }
    parameters = parameters.dangerous_accept_invalid_certs(to.tls.insecure_skip_verify);
    parameters.build().map_err(|error| describe(&error))
}

fn compose(to: &Email, notification: &Notification, texts: &Texts<'_>) -> Result<Message, String> {
    let addresses = |what: &str, template: &str| -> Result<Mailboxes, String> {
        let text = texts.text(template)?;
        text.parse().map_err(|error| format!("{what}: {text:?} is not a list of addresses: {error}"))
    };
    let (from, receivers) = (addresses("from", &to.from)?, addresses("to", &to.to)?);
    let sender = from.iter().next().ok_or("from: no address")?.clone();
    let envelope_to = receivers.iter().map(|one| one.email.clone()).collect();
    let envelope = Envelope::new(Some(sender.email.clone()), envelope_to).map_err(|error| format!("to: {error}"))?;
    let at = UNIX_EPOCH + Duration::from_nanos(notification.at.0.unsigned_abs());
    let mut builder = Message::builder().envelope(envelope).date(at).message_id(None);
    let mut headers = to.headers.clone();
    headers.entry("Subject".into()).or_insert_with(|| "{{ template \"email.default.subject\" . }}".into());
    headers.entry("From".into()).or_insert_with(|| to.from.clone());
    headers.entry("To".into()).or_insert_with(|| to.to.clone());
    for (name, template) in &headers {
        let text = texts.text(template)?.split_whitespace().collect::<Vec<_>>().join(" ");
        builder = match name.as_str() {
            "Subject" => builder.subject(text),
            "From" => addresses("From", &text)?.into_iter().fold(builder, lettre::message::MessageBuilder::from),
            "To" => addresses("To", &text)?.into_iter().fold(builder, lettre::message::MessageBuilder::to),
            "Reply-To" => {
                addresses("Reply-To", &text)?.into_iter().fold(builder, lettre::message::MessageBuilder::reply_to)
            }
            _ => {
                let header =
                    HeaderName::new_from_ascii(name.clone()).map_err(|_| format!("{name:?} is not a header"))?;
                builder.raw_header(HeaderValue::new(header, text))
            }
        };
    }
    let (html, text) = (texts.html(&to.html)?, texts.text(&to.text)?);
    let composed = match (html.is_empty(), text.is_empty()) {
        (true, _) => builder.singlepart(SinglePart::plain(text)),
        (false, true) => builder.singlepart(SinglePart::html(html)),
        (false, false) => builder.multipart(MultiPart::alternative_plain_html(text, html)),
    };
    composed.map_err(|error| error.to_string())
}
