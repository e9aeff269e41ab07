use std::path::Path;

use super::Config;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new(".")).map_err(|error| error.to_string())
}

const FULL: &str = r#"
global:
  resolve_timeout: 3m
  smtp_smarthost: 'mail.example.org:587'
  smtp_from: 'alerts@example.org'
  smtp_auth_username: alerts
  smtp_auth_password: hunter2
  slack_api_url: https://hooks.slack.com/services/T0/B0/xyzzy
  http_config:
    follow_redirects: true
templates:
route:
  receiver: team
  group_by: [alertname, cluster]
  routes:
    - matchers: [ 'severity="page"', "team=~\"a|b\"" ]
      receiver: pager
      continue: true
      group_wait: 0s
      mute_time_intervals: [nights]
      routes:
        - match: {zone: eu}
        - match_re: {zone: "us.*"}
          group_by: ['...']
inhibit_rules:
  - source_match: {severity: critical}
    target_match_re: {severity: "warn.*"}
    equal: [cluster]
  - source_matchers: [a=b]
    target_matchers: ['c=d']
receivers:
  - name: team
    slack_configs:
      - channel: '#alerts'
        fields: [{title: a, value: b, short: true}]
        actions: [{type: button, text: Go, url: 'https://x'}]
    email_configs:
      - to: a@example.org
        headers: {subject: hi}
  - name: pager
    pagerduty_configs:
      - routing_key: 0123456789abcdef
        details: {a: b}
    webhook_configs:
      - url: http://example.org:8080/path/token
        max_alerts: 3
        http_config: {basic_auth: {username: u, password: p4ss}}
      - url: http://example.org
        http_config:
          http_headers: {X-Key: {secrets: [h3ader], values: [open]}}
          tls_config: {cert_file: c.pem, key: p3m}
          oauth2:
            client_id: us
            client_secret: cl13nt
            token_url: 'https://me:m1ne@issuer.example/token?a=s1gned'
            endpoint_params: {assertion: ass3rted}
    msteamsv2_configs:
      - webhook_url: https://example.org/tok
    opsgenie_configs:
      - api_key: k3y
        priority: P1
time_intervals:
  - name: nights
    time_intervals: [{times: [{start_time: '22:00', end_time: '24:00'}]}]
"#;

#[test]
fn a_full_configuration_is_read() {
    let config = parse(FULL).unwrap();
    assert_eq!(config.resolve_timeout.as_secs(), 180);
    let keys: Vec<&str> = config.routes.routes().iter().map(|route| route.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "{}",
            "{}/{severity=\"page\",team=~\"a|b\"}",
            "{}/{severity=\"page\",team=~\"a|b\"}/{zone=\"eu\"}",
            "{}/{severity=\"page\",team=~\"a|b\"}/{zone=~\"^(?:us.*)$\"}",
        ]
    );
    let child = &config.routes.routes()[2].options;
    assert_eq!((child.receiver.as_str(), child.group_wait.as_secs()), ("pager", 0), "inherited");
    assert!(child.mute_time_intervals.is_empty(), "not inherited");
    let kinds: Vec<_> = config.receivers[1].integrations.iter().map(super::Integration::kind).collect();
    assert_eq!(kinds, ["webhook", "webhook", "pagerduty", "opsgenie", "msteamsv2"]);
    assert_eq!(
        config.receivers[0].integrations.iter().map(|one| one.send_resolved).collect::<Vec<_>>(),
        [false, false]
    );
}

#[test]
fn secrets_are_never_shown() {
    let config = parse(FULL).unwrap();
    let shown = format!("{}{config:?}", config.original);
    for secret in [
        "hunter2",
        "xyzzy",
        "0123456789abcdef",
        "p4ss",
        "k3y",
        "/tok\"",
        "path/token",
        "h3ader",
        "p3m",
        "cl13nt",
        "m1ne",
        "s1gned",
        "ass3rted",
    ] {
        assert!(!shown.contains(secret), "{secret}");
    }
    let again = parse(&config.original.replace("<secret>", "https://a/b"));
    assert!(again.is_ok(), "{again:?}\n{}", config.original);
}

#[test]
fn the_built_in_configuration_groups_by_incident() {
    let config = Config::built_in().unwrap();
    assert_eq!(config.receivers[0].integrations[0].kind(), "record");
}

#[test]
fn what_is_wrong_is_refused_with_its_line() {
    let tail = "receivers:\n- name: a\n";
    let cases = [
        ("route: {}\n", "root route must specify a default receiver"),
        ("receivers: []\n", "no route provided in config"),
        (&format!("route:\n  receiver: b\n{tail}"), "line 2: undefined receiver \"b\" used in route"),
        (&format!("route:\n  receiver: a\n  group_by: [x, x]\n{tail}"), "line 3: duplicated label"),
        (&format!("route:\n  receiver: a\n  group_by: ['...', x]\n{tail}"), "cannot have wildcard group_by"),
        (&format!("route:\n  receiver: a\n  group_interval: 0s\n{tail}"), "group_interval cannot be zero"),
        (&format!("route:\n  receiver: a\n  group_wait: soon\n{tail}"), "line 3"),
        (&format!("route:\n  receiver: a\n  grup_wait: 1s\n{tail}"), "grup_wait"),
        (
            &format!("route:\n  receiver: a\n  routes:\n  - labels: {{team: a}}\n{tail}"),
            "line 4: labels of routes (Alertmanager 0.34) are not supported; remove the key",
        ),
        (&format!("route:\n  receiver: a\n  matchers: [a=b]\n{tail}"), "root route must not have any matchers"),
        (&format!("route:\n  receiver: a\n  routes:\n  - matchers: ['a=~(']\n{tail}"), "regular expression"),
        (
            &format!("route:\n  receiver: a\n  routes:\n  - mute_time_intervals: [x]\n{tail}"),
            "undefined time interval \"x\"",
        ),
        (&format!("route:\n  receiver: a\n{tail}- name: a\n"), "not unique"),
        (
            &format!("route:\n  receiver: a\n{tail}  discord_configs: []\n"),
            "line 5: discord_configs is not supported by Trivium; use",
        ),
        (&format!("route:\n  receiver: a\n{tail}  slack_configs: [{{}}]\n"), "no global Slack API URL set"),
        (&format!("route:\n  receiver: a\n{tail}  slack_configs: [{{chanel: x}}]\n"), "chanel"),
        (&format!("route:\n  receiver: a\n{tail}  webhook_configs: [{{url: 'ftp://x'}}]\n"), "unsupported scheme"),
        (
            &format!("route:\n  receiver: a\n{tail}  webhook_configs: [{{url: 'http://x', url_file: y}}]\n"),
            "at most one of url",
        ),
        (
            &format!(
                "route:\n  receiver: a\n{tail}  webhook_configs: [{{url: 'http://x', http_config: {{proxy_url: 'http://p'}}}}]\n"
            ),
            "proxies are not supported",
        ),
        (
            &format!("global:\n  http_config: {{oauth2: {{client_id: a}}}}\nroute:\n  receiver: a\n{tail}"),
            "http_config: oauth2: missing token_url",
        ),
        (
            &format!(
                "global:\n  http_config: {{oauth2: {{client_id: a, token_url: 'http://x', proxy_url: 'http://p'}}}}\nroute:\n  receiver: a\n{tail}"
            ),
            "oauth2: proxies are not supported",
        ),
        (
            &format!(
                "global:\n  http_config: {{tls_config: {{server_name: 10.0.0.1}}}}\nroute:\n  receiver: a\n{tail}"
            ),
            "is not a name such as",
        ),
        (
            &format!(
                "global:\n  http_config: {{http_headers: {{Host: {{values: [x]}}}}}}\nroute:\n  receiver: a\n{tail}"
            ),
            "is set by Trivium",
        ),
        (&format!("route:\n  receiver: a\n{tail}  email_configs: [{{to: x}}]\n"), "no global SMTP smarthost set"),
        (&format!("global: {{smtp_smarthost: x}}\nroute:\n  receiver: a\n{tail}"), "is not host:port"),
        ("route: [", "line"),
    ];
    for (text, expected) in cases {
        let error = parse(text).expect_err(text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn numbers_are_taken_where_texts_are_expected() {
    let text = "
global: {smtp_smarthost: 'h:25', smtp_from: a@b, smtp_auth_password: 12345}
route: {receiver: a}
receivers:
- name: a
  pagerduty_configs: [{routing_key: 1234567, details: {count: 5}}]
  slack_configs: [{api_url: 'http://x', title: 7}]
  email_configs: [{to: x@y, headers: {Priority: 1}}]
";
    let config = parse(text).unwrap();
    assert!(!config.original.contains("12345"), "{}", config.original);
}

#[test]
fn errors_do_not_show_secrets() {
    for text in [
        "route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{api_url: 'hush', chanel: x}]}]",
        "route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{routing_key: hush, routing_key_file: x}]}]",
        "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'hush'}]}]",
        "route: {receiver: a}\nreceivers: [{name: a, opsgenie_configs: [{api_key: [hush]}]}]",
        "route: {receiver: a}\nreceivers: [{name: a, email_configs: [{auth_password: hush, bad: 1}]}]",
        "global: {http_config: {authorization: hush}}\nroute: {receiver: a}\nreceivers: [{name: a}]",
        "global: {http_config: {basic_auth: {password: [hush]}}}\nroute: {receiver: a}\nreceivers: [{name: a}]",
        "global: {http_config: {oauth2: hush}}\nroute: {receiver: a}\nreceivers: [{name: a}]",
        "global: {http_config: {oauth2: {client_id: a, client_secret: hush, token_url: 'ftp://hush'}}}\nroute: {receiver: a}\nreceivers: [{name: a}]",
        "global: {http_config: {tls_config: {key: hush}}}\nroute: {receiver: a}\nreceivers: [{name: a}]",
        "route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{api_url: 'http://x', http_config: {authorization: hush}}]}]",
    ] {
        let error = parse(text).expect_err(text);
        assert!(!error.contains("hush"), "{text}\n{error}");
    }
}
