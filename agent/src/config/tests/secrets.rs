//! No fault shows what may be a password, wherever it was written by mistake.

use super::*;

const SECRET: &str = "s3cret-pass";

/// Faults of an upstream with these lines; none shows the password.
#[track_caller]
fn hidden(upstream: &str) -> Vec<String> {
    let text = format!("[upstream]\n{upstream}\n{SMALL}").replace("PASS", SECRET);
    let faults = Setup::new(&text).faults();
    assert!(!faults.concat().contains("cret-pass"), "{faults:#?}");
    faults
}

#[test]
fn an_address_with_a_password_is_not_quoted() {
    let keys = "access_key_id = \"id\"\naccess_key_secret = { env = \"NONE\" }";
    for (address, words) in [
        (
            "https://u:PASS@h:1",
            "upstream.endpoint: holds '@'; only host and port belong here; write",
        ),
        ("https://u:PASS@h:1/", "upstream.endpoint: holds '@'"),
        ("u:PASS@h:1", "upstream.endpoint: has no scheme"),
        ("https://h:1/?token=PASS", "upstream.endpoint: holds '/'"),
        ("h/PASS", "upstream.endpoint: has no scheme"),
        ("https://h:PASS", "has a port which is not from 1 to 65535"),
        ("https://u:PASS:443", "has an IPv6 address without brackets"),
        ("u:PASS:443", "upstream.endpoint: has no scheme"),
        ("u:PASS://h:1", "upstream.endpoint: has a scheme that is none of http and https"),
        ("u:PASS@h://h:1", "upstream.endpoint: has a scheme that is none of http and https"),
    ] {
        let faults = hidden(&format!("endpoint = \"{address}\"\n{keys}"));
        assert!(faults[0].contains(words), "{faults:#?}");
    }
    // Without a host a password of digits looks like a port.
    for address in ["https://u:12345678", "u:12345678", "u:12345678:443", "u:12345678://h:1"] {
        let text = format!("[upstream]\ntransport = \"grpc\"\nendpoint = \"{address}\"\n{SMALL}");
        let faults = Setup::new(&text).faults().concat();
        assert!(faults.contains("upstream.endpoint: has "), "{faults}");
        assert!(!faults.contains("345678"), "{faults}");
    }
    let grpc = "transport = \"grpc\"\nendpoint = [\"a:8081\", \"u:PASS@b:8081\", \"c\"]";
    assert!(hidden(grpc)[0].contains("upstream.endpoint: holds '@'"));
    let variable = Setup::new(&format!("[upstream]\ntransport = \"grpc\"\n{SMALL}"))
        .variable("SPILLWAY__UPSTREAM__ENDPOINT", "https://u:s3cret-pass@h:1");
    let faults = variable.faults().concat();
    assert!(faults.contains("holds '@'") && !faults.contains(SECRET), "{faults}");
}

#[test]
fn a_proxy_with_a_broken_address_is_not_quoted() {
    for proxy in [
        "http://PASS@p",
        "http://u:PASS%@p:1",
        "http://u:PASS",
        "u:PASS@p:1",
        "http://u:PASS@p/x",
        "u:PASS://p:1",
    ] {
        for form in [format!("\"{proxy}\""), format!("{{ url = \"{proxy}\" }}")] {
            let faults =
                hidden(&format!("transport = \"grpc\"\nendpoint = \"a:1\"\nproxy = {form}"));
            assert!(faults[0].contains("upstream.proxy"), "{faults:#?}");
        }
    }
}

#[test]
fn a_line_that_is_not_toml_is_not_quoted() {
    for line in [
        "access_key_secret = PASS",
        "access_key_secret = \"PASS",
        "access_key_secret = 'PASS\"",
        "access_key_secret = \"PASS\\q\"",
        "access_key_secret = \"PASS\" PASS",
        "access_key_secret \"PASS\"",
        "access_key_secret = { file = \"PASS\"",
        "access_key_secret = \"\"\"PASS",
        "access_key_secret = 5PASS",
        "access_key_secret = \"a\"\naccess_key_secret = \"PASS\"",
        "access_key_secret.PASS = 1\naccess_key_secret = \"PASS\"",
        "PASS",
        "endpoint = https://u:PASS@h:1",
    ] {
        let faults = hidden(line);
        assert!(faults.iter().any(|fault| fault.contains("is not TOML")), "{line}: {faults:#?}");
    }
}
