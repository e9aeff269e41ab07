//! Real conversations: an HTTP receiver and an SMTP server on this machine.

mod secure;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use trivium_model::UnixNanos;

use super::{ExternalSender, OutgoingPolicy, Senders};
use crate::alert::Alert;
use crate::alert::AlertInput;
use crate::config::{AlertingFile, Config};
use crate::engine::{Notification, Notified, Outcome, Reason, SendJob};
use crate::notifier::Deliver;

const NOW: UnixNanos = UnixNanos(1_795_262_400_000_000_000);

fn alert(name: &str, is_resolved: bool) -> Notified {
    let input = AlertInput {
        labels: [("alertname", name), ("service", "cart")].into_iter().collect(),
        annotations: [("summary", "Payments <fail>")].into_iter().collect(),
        starts_at: Some(NOW.before(Duration::from_secs(60))),
        ends_at: Some(if is_resolved { NOW } else { NOW.after(Duration::from_secs(60)) }),
        generator_url: "http://trivium/rule".into(),
        incident: Some("i-7".into()),
        evidence: Some(json!({
            "origin": {"service": "payment", "version": "1.4.2"},
            "traces": [{"trace_id": "ab", "url": "http://trivium/trace/ab"}],
            "log_patterns": [{"pattern": "card <*> declined"}],
            "attributes": [{"name": "region", "value": "eu"}],
        })),
        ..AlertInput::default()
    };
    let alert = Alert::accept(input, NOW, Duration::from_secs(300)).unwrap();
    Notified { alert, is_resolved }
}

/// What the first receiver of the configuration is told.
async fn deliver(receiver: &str, policy: &str, alerts: Vec<Notified>) -> Outcome {
    let (senders, job) = prepared(receiver, Path::new("."), policy, alerts);
    senders.deliver(&job, Duration::from_secs(10)).await
}

fn prepared(receiver: &str, folder: &Path, policy: &str, alerts: Vec<Notified>) -> (Senders, SendJob) {
    let text = format!("route: {{receiver: x}}\nreceivers:\n- name: x\n  {receiver}\n");
    let config = Config::parse(&text, folder).unwrap();
    let allow = if policy.is_empty() { Vec::new() } else { vec![policy.parse().unwrap()] };
    let senders = Senders::new(&config, "http://trivium/", OutgoingPolicy { allow }).unwrap();
    let notification = Notification {
        receiver: "x".into(),
        group_key: "{}:{alertname=\"A\"}".into(),
        group_labels: [("alertname", "A")].into_iter().collect(),
        reason: Reason::First,
        alerts,
        at: NOW,
    };
    let job = SendJob {
        id: 1,
        deadline: NOW.after(Duration::from_secs(10)),
        integration: config.receivers[0].integrations[0].clone(),
        notification: Arc::new(notification),
    };
    (senders, job)
}

#[derive(Clone, Default)]
struct Server {
    requests: Arc<Mutex<Vec<(HeaderMap, String, Value)>>>,
    status: Arc<Mutex<u16>>,
}

impl Server {
    async fn start(&self) -> String {
        let answer = |State(server): State<Self>, uri: axum::http::Uri, headers: HeaderMap, body: String| async move {
            let body = serde_json::from_str(&body).unwrap();
            server.requests.lock().unwrap().push((headers, uri.to_string(), body));
            let status = StatusCode::from_u16(*server.status.lock().unwrap()).unwrap();
            (status, [("retry-after", "7"), ("location", "http://169.254.169.254/")], "no such thing")
        };
        let router = Router::new().fallback(post(answer)).with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        *self.status.lock().unwrap() = 200;
        format!("http://{address}")
    }

    fn last(&self) -> (HeaderMap, String, Value) {
        self.requests.lock().unwrap().pop().unwrap()
    }
}

const LOCAL: &str = "127.0.0.0/8";

#[tokio::test]
async fn a_webhook_is_told_with_evidence_and_answers_are_judged() {
    let server = Server::default();
    let url = server.start().await;
    let receiver = format!(
        "webhook_configs: [{{url: '{url}/hook', max_alerts: 1, http_config: {{basic_auth: {{username: u, password: p}}}}}}]"
    );
    assert_eq!(deliver(&receiver, LOCAL, vec![alert("A", false), alert("B", true)]).await, Outcome::Sent);
    let (headers, uri, body) = server.last();
    assert_eq!((uri.as_str(), headers["authorization"].to_str().unwrap()), ("/hook", "Basic dTpw"));
    assert_eq!(
        (&body["version"], &body["status"], &body["truncatedAlerts"]),
        (&json!("4"), &json!("firing"), &json!(1))
    );
    assert_eq!(body["commonLabels"], json!({"service": "cart"}));
    let first = &body["alerts"][0];
    assert_eq!((&first["incident"], &first["evidence"]["origin"]["service"]), (&json!("i-7"), &json!("payment")));
    assert_eq!(
        (&first["startsAt"], &first["endsAt"]),
        (&json!("2026-11-21T11:59:00Z"), &json!("0001-01-01T00:00:00Z"))
    );
    let after = Some(Duration::from_secs(7));
    for (status, expected) in [
        (503, Outcome::Transient { problem: "unexpected status code 503: no such thing".into(), after }),
        (429, Outcome::Transient { problem: "unexpected status code 429: no such thing".into(), after }),
        (404, Outcome::Permanent("unexpected status code 404: no such thing".into())),
        (302, Outcome::Permanent("unexpected status code 302: no such thing".into())),
    ] {
        *server.status.lock().unwrap() = status;
        assert_eq!(deliver(&receiver, LOCAL, vec![alert("A", false)]).await, expected);
    }
}

#[tokio::test]
async fn what_is_not_allowed_is_not_asked() {
    let server = Server::default();
    let url = server.start().await;
    let port = url.rsplit(':').next().unwrap();
    for (host, what) in [
        ("127.0.0.1", "127.0.0.1 is loopback"),
        ("localhost", "is loopback"),
        ("[::ffff:127.0.0.1]", "127.0.0.1 is loopback"),
    ] {
        let receiver = format!("webhook_configs: [{{url: 'http://{host}:{port}/secret'}}]");
        let outcome = deliver(&receiver, "", vec![alert("A", false)]).await;
        let Outcome::Permanent(problem) = outcome else { panic!("{host}: {outcome:?}") };
        assert!(problem.contains(what) && problem.contains("notify_allow_networks"), "{problem}");
        assert!(!problem.contains("secret"), "{problem}");
    }
    assert!(server.requests.lock().unwrap().is_empty());
    let mail = "email_configs: [{to: a@x.org, from: b@x.org, smarthost: 'localhost:25'}]";
    let outcome = deliver(mail, "", vec![alert("A", false)]).await;
    assert!(matches!(&outcome, Outcome::Permanent(problem) if problem.contains("loopback")), "{outcome:?}");
}

#[tokio::test]
async fn a_receiver_that_is_not_there_may_come_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let receiver = format!("webhook_configs: [{{url: 'http://{}/secret'}}]", listener.local_addr().unwrap());
    drop(listener);
    let outcome = deliver(&receiver, LOCAL, vec![alert("A", false)]).await;
    assert!(matches!(&outcome, Outcome::Transient { problem, .. } if !problem.contains("secret")), "{outcome:?}");
}

#[tokio::test]
async fn slack_teams_pagerduty_and_opsgenie_are_told_in_their_words() {
    let server = Server::default();
    let url = server.start().await;
    let told = |receiver: String, is_resolved: bool| {
        let server = server.clone();
        async move {
            assert_eq!(deliver(&receiver, LOCAL, vec![alert("A", is_resolved)]).await, Outcome::Sent, "{receiver}");
            server.last()
        }
    };
    let slack = format!(
        "slack_configs: [{{api_url: '{url}/s', channel: '#{{{{ .CommonLabels.service }}}}', fields: [{{title: T, value: '{{{{ len .Alerts }}}}'}}], actions: [{{type: button, text: Go, url: 'http://x'}}]}}]"
    );
    let (_, _, body) = told(slack, false).await;
    let attachment = &body["attachments"][0];
    assert_eq!((&body["channel"], &attachment["color"]), (&json!("#cart"), &json!("danger")));
    assert_eq!(attachment["title"], json!("[FIRING:1] A (cart)"));
    let text = attachment["text"].as_str().unwrap();
    let expected = [
        "Payments <fail>",
        "• likely origin: payment version 1.4.2",
        "• trace: http://trivium/trace/ab",
        "• log pattern grew: card <*> declined",
        "• attribute changed: region=eu",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    assert_eq!((&attachment["fields"][0]["value"], &attachment["actions"][0]["type"]), (&json!("1"), &json!("button")));

    let pager = format!(
        "pagerduty_configs: [{{routing_key: k, url: '{url}/p', links: [{{href: 'http://x', text: t}}], details: {{own: '{{{{ .Status }}}}'}}}}]"
    );
    let (_, _, body) = told(pager.clone(), false).await;
    assert_eq!((&body["routing_key"], &body["event_action"]), (&json!("k"), &json!("trigger")));
    let details = &body["payload"]["custom_details"];
    assert_eq!((&details["own"], &details["num_firing"]), (&json!("firing"), &json!("1")));
    assert!(details["firing"].as_str().unwrap().contains(" * likely origin: payment version 1.4.2"), "{details}");
    let key = body["dedup_key"].clone();
    let (_, _, body) = told(pager, true).await;
    assert_eq!((&body["event_action"], &body["dedup_key"]), (&json!("resolve"), &key));

    let genie = format!("opsgenie_configs: [{{api_key: g, api_url: '{url}', tags: 'a, b', priority: P1}}]");
    let (headers, uri, body) = told(genie.clone(), false).await;
    assert_eq!((uri.as_str(), headers["authorization"].to_str().unwrap()), ("/v2/alerts", "GenieKey g"));
    assert_eq!((&body["tags"], &body["priority"]), (&json!(["a", "b"]), &json!("P1")));
    let (_, uri, _) = told(genie, true).await;
    assert_eq!(uri, format!("/v2/alerts/{}/close?identifierType=alias", body["alias"].as_str().unwrap()));

    let (_, _, body) = told(format!("msteamsv2_configs: [{{webhook_url: '{url}/t'}}]"), false).await;
    let card = &body["attachments"][0]["content"];
    assert_eq!((&card["type"], &card["body"][0]["text"]), (&json!("AdaptiveCard"), &json!("[FIRING:1] A (cart)")));
    assert!(card["body"][1]["text"].as_str().unwrap().contains("likely origin: payment"));
    let (_, _, body) = told(format!("msteams_configs: [{{webhook_url: '{url}/t'}}]"), true).await;
    assert_eq!((&body["@type"], &body["themeColor"]), (&json!("MessageCard"), &json!("2DC72D")));

    let own = format!(
        "webhook_configs: [{{url: '{url}/w', payload: {{text: '{{{{ .Status }}}}!', n: 1, list: ['{{{{ .Receiver }}}}']}}}}]"
    );
    let (_, _, body) = told(own, false).await;
    assert_eq!(body, json!({"text": "firing!", "n": 1, "list": ["x"]}));
}

/// A server that takes one mail and says what it heard.
async fn smtp(listener: TcpListener) -> Vec<String> {
    let (stream, _) = listener.accept().await.unwrap();
    let (read, write) = stream.into_split();
    mail_session(read, write, true).await
}

async fn mail_session(read: impl AsyncRead + Unpin, mut write: impl AsyncWrite + Unpin, greets: bool) -> Vec<String> {
    let mut lines = BufReader::new(read).lines();
    let mut heard = Vec::new();
    let mut is_data = false;
    if greets {
        write.write_all(b"220 here\r\n").await.unwrap();
    }
    while let Ok(Some(line)) = lines.next_line().await {
        let verb = line.split(' ').next().unwrap_or_default().to_uppercase();
        heard.push(line.clone());
        let answer: &[u8] = match verb.as_str() {
            "." if is_data => {
                is_data = false;
                b"250 kept\r\n"
            }
            _ if is_data => continue,
            "EHLO" => b"250-here\r\n250 AUTH PLAIN LOGIN\r\n",
            "AUTH" => b"235 welcome\r\n",
            "DATA" => {
                is_data = true;
                b"354 go on\r\n"
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n").await.ok();
                break;
            }
            _ => b"250 fine\r\n",
        };
        write.write_all(answer).await.unwrap();
    }
    heard
}

#[tokio::test]
async fn a_mail_is_sent_over_smtp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(smtp(listener));
    let receiver = format!(
        "email_configs: [{{to: 'Ann <ann@x.org>, bob@x.org', from: t@x.org, smarthost: '{address}', require_tls: false, \
         auth_username: me, auth_password: pw, hello: trivium.x.org, text: 'plain {{{{ .Status }}}}', headers: {{X-Team: 'a b'}}}}]"
    );
    assert_eq!(deliver(&receiver, LOCAL, vec![alert("A", false)]).await, Outcome::Sent);
    let heard = server.await.unwrap().join("\n");
    for expected in [
        "EHLO trivium.x.org",
        "AUTH PLAIN AG1lAHB3",
        "MAIL FROM:<t@x.org>",
        "RCPT TO:<ann@x.org>",
        "RCPT TO:<bob@x.org>",
        "Subject: [FIRING:1] A (cart)",
        "X-Team: a b",
        "plain firing",
        "text/html",
        "Payments &lt;fail&gt;",
        "likely origin: payment version 1.4.2",
    ] {
        assert!(heard.replace("=\n", "").contains(expected), "{expected}\n{heard}");
    }
}

#[tokio::test]
async fn a_mail_that_must_be_encrypted_is_not_sent_in_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(smtp(listener));
    let receiver = format!(
        "email_configs: [{{to: a@x.org, from: t@x.org, smarthost: '{address}', auth_username: me, auth_password: pw}}]"
    );
    let outcome = deliver(&receiver, LOCAL, vec![alert("A", false)]).await;
    assert_ne!(outcome, Outcome::Sent);
    assert!(!server.await.unwrap().iter().any(|line| line.starts_with("AUTH") || line.starts_with("MAIL")));
}

#[tokio::test]
async fn alerts_go_to_external_alertmanagers_in_batches() {
    let (server, absent) = (Server::default(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let urls = [format!("{}/am/", server.start().await), format!("http://{}", absent.local_addr().unwrap())];
    drop(absent);
    let sender =
        ExternalSender::new(&urls, &AlertingFile::default(), OutgoingPolicy { allow: vec![LOCAL.parse().unwrap()] })
            .unwrap();
    let alert = |number: usize| AlertInput {
        labels: [("alertname", number.to_string())].into_iter().collect(),
        starts_at: Some(NOW),
        ..AlertInput::default()
    };
    sender.send(&(0..10_300).map(alert).collect::<Vec<_>>());
    let value = |name: &str| -> Vec<f64> {
        sender.metrics().iter().filter(|sample| sample.name == name).map(|sample| sample.value).collect()
    };
    assert_eq!(value("prometheus_notifications_dropped_total"), [300.0, 300.0], "the oldest give way");
    let all_sent = async {
        while value("prometheus_notifications_queue_length") != [0.0, 0.0]
            || value("prometheus_notifications_sent_total")[0] + value("prometheus_notifications_errors_total")[1]
                < 20_000.0
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = sender.run() => {}
        () = all_sent => {}
    }
    let requests = server.requests.lock().unwrap();
    let sizes: Vec<usize> = requests.iter().map(|(_, _, body)| body.as_array().unwrap().len()).collect();
    assert_eq!((sizes.len(), sizes[0], sizes[39]), (40, 256, 16));
    assert_eq!(requests[0].1, "/am/api/v2/alerts");
    assert_eq!(
        requests[0].2[0],
        json!({"labels": {"alertname": "300"}, "annotations": {}, "generatorURL": "", "startsAt": "2026-11-21T12:00:00.000000000Z"})
    );
}
