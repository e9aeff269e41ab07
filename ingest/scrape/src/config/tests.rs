use super::*;

fn read(text: &str) -> Result<ScrapeConfig, ConfigError> {
    ScrapeConfig::parse(text, Path::new("/etc/trivium"))
}

#[test]
fn a_configuration_in_the_shape_of_prometheus() {
    let config = read(
        "global: {scrape_interval: 15s, external_labels: {site: eu}}\n\
         scrape_configs:\n\
         - job_name: node\n  scrape_timeout: 5s\n  params: {module: [a, b]}\n  body_size_limit: 10MB\n\
         \x20 basic_auth: {username: u, password_file: secret}\n\
         \x20 static_configs:\n  - targets: ['localhost:9100']\n    labels: {rack: 7}\n\
         \x20 file_sd_configs:\n  - files: ['targets/*.yml']\n    refresh_interval: 30s\n\
         \x20 relabel_configs:\n  - {source_labels: [__address__], regex: '(.*):.*', target_label: host}\n",
    )
    .expect("valid");
    let job = &config.jobs[0];
    assert_eq!((job.interval.as_secs(), job.timeout.as_secs()), (15, 5));
    assert_eq!(job.static_groups[0].labels["rack"], "7");
    assert_eq!(job.files[0].patterns, [PathBuf::from("/etc/trivium/targets/*.yml")]);
    assert_eq!(job.limits.body_bytes, 10 << 20);
    let password = Secret::File("/etc/trivium/secret".into());
    assert_eq!(job.auth, Some(Auth::Basic { username: Secret::Inline("u".into()), password }));
    assert_eq!(config.external_labels["site"], "eu");
}

#[test]
fn a_refusal_names_the_key_and_what_is_expected() {
    let job = |text: &str| format!("scrape_configs: [{{job_name: a, {text}}}]");
    for (text, wanted) in [
        ("scrape_config: []".to_owned(), "scrape_config: unknown key"),
        ("rule_files: []".to_owned(), "rule_files: not supported by Trivium"),
        ("scrape_configs: [{}]".to_owned(), "scrape_configs[0].job_name: missing"),
        (job("scrape_interval: soon"), "scrape_configs[0].scrape_interval: \"soon\" is not a duration"),
        (job("scrape_interval: 5s, scrape_timeout: 6s"), "scrape_timeout: longer than"),
        (job("kubernetes_sd_configs: []"), "scrape_configs[0].kubernetes_sd_configs: not supported"),
        (job("scheme: https"), "scrape_configs[0].scheme: https is not supported"),
        (job("static_configs: [{targets: ['http://a/']}]"), "scrape_configs[0].static_configs[0].targets:"),
        (job("relabel_configs: [{action: hashmod, target_label: x}]"), "relabel_configs[0].modulus: missing"),
        (job("relabel_configs: [{regex: '(', target_label: x}]"), "relabel_configs[0].regex: \"(\" is not a regex"),
        (job("relabel_configs: [{action: jump}]"), "relabel_configs[0].action: \"jump\" is not"),
        (job("sample_limit: -1"), "scrape_configs[0].sample_limit: -1 is not a number of 0 or more"),
        (job("file_sd_configs: [{files: ['*/a.yml']}]"), "file_sd_configs[0].files:"),
        ("scrape_configs: [{job_name: a}, {job_name: a}]".to_owned(), "scrape_configs[1].job_name: \"a\" is the name"),
        ("a: [".to_owned(), "not valid YAML"),
    ] {
        let error = read(&text).expect_err(&text).to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn durations() {
    assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
    assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
    for bad in ["", "5", "m", "1m1h", "-1s", "99999999999999999999s"] {
        assert_eq!(duration(bad), None, "{bad}");
    }
}
