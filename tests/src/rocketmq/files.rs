//! Configuration files and command lines.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::ports::Ports;

const BROKER_CONF: &str = include_str!("../../rocketmq/broker.conf");
const AUTHENTICATION: &str =
    "org.apache.rocketmq.auth.authentication.provider.DefaultAuthenticationProvider";
const AUTHORIZATION: &str =
    "org.apache.rocketmq.auth.authorization.provider.DefaultAuthorizationProvider";
const BROKER_RULES: &str =
    "org.apache.rocketmq.auth.authorization.provider.LocalAuthorizationMetadataProvider";
/// Asks the broker.
const PROXY_RULES: &str = "org.apache.rocketmq.proxy.auth.ProxyAuthorizationMetadataProvider";
const BROKER_USERS: &str =
    "org.apache.rocketmq.auth.authentication.provider.LocalAuthenticationMetadataProvider";
/// Asks the broker.
const PROXY_USERS: &str = "org.apache.rocketmq.proxy.auth.ProxyAuthenticationMetadataProvider";

/// How a RocketMQ differs from one for everybody.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Most user properties of a message (128 if not said).
    pub user_properties_max: Option<u32>,
    /// PEM files of the proxy's certificate and key (a self-signed one if not said).
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Id and secret that every client has to sign with.
    pub access_key: Option<(String, String)>,
    /// Whether other users than that one may only do what they are allowed to.
    pub rules: bool,
    /// Whether the proxy is a process of its own and asks the broker by the wire, as in a cluster;
    /// only then do sends wait in the broker's queue.
    pub cluster: bool,
    /// More lines of `broker.conf`.
    pub broker: &'static str,
}

/// Writes the configuration into `dir`.
pub(super) fn write(dir: &Path, ports: &Ports, options: &Options) {
    let mut broker = BROKER_CONF.to_owned();
    for (name, value) in [
        ("{namesrv}", ports.namesrv.to_string()),
        ("{broker}", ports.broker.to_string()),
        ("{ha}", ports.ha.to_string()),
        ("{dir}", dir.display().to_string()),
    ] {
        broker = broker.replace(name, &value);
    }
    broker.push_str(options.broker);
    let mut proxy = json!({
        "rocketMQClusterName": "DefaultCluster",
        "namesrvAddr": format!("127.0.0.1:{}", ports.namesrv),
        "grpcServerPort": ports.grpc,
        "remotingListenPort": ports.remoting,
        // Consumers of tests are not to wait longer than they must.
        "grpcClientConsumerMinLongPollingTimeoutMillis": 1000,
        "minInvisibleTimeMillsForRecv": 1000,
    });
    if let Some(max) = options.user_properties_max {
        proxy["userPropertyMaxNum"] = json!(max);
    }
    if let Some((certificate, key)) = &options.certificate {
        proxy["tlsTestModeEnable"] = json!(false);
        proxy["tlsCertPath"] = json!(certificate);
        proxy["tlsKeyPath"] = json!(key);
    }
    if let Some((id, secret)) = &options.access_key {
        broker.push_str(&broker_authentication(id, secret));
        proxy["authenticationEnabled"] = json!(true);
        proxy["authenticationProvider"] = json!(AUTHENTICATION);
        proxy["authenticationMetadataProvider"] = json!(PROXY_USERS);
        proxy["innerClientAuthenticationCredentials"] = json!(inner_credentials(id, secret));
    }
    if options.rules {
        broker.push_str(&format!(
            "authorizationEnabled=true\nauthorizationProvider={AUTHORIZATION}\n\
             authorizationMetadataProvider={BROKER_RULES}\n"
        ));
        proxy["authorizationEnabled"] = json!(true);
        proxy["authorizationProvider"] = json!(AUTHORIZATION);
        proxy["authorizationMetadataProvider"] = json!(PROXY_RULES);
    }
    std::fs::create_dir_all(dir.join("conf")).unwrap();
    std::fs::write(dir.join("broker.conf"), broker).unwrap();
    std::fs::write(dir.join("rmq-proxy.json"), proxy.to_string()).unwrap();
    std::fs::write(dir.join("namesrv.conf"), format!("listenPort={}\n", ports.namesrv)).unwrap();
}

/// One user, as whom broker and proxy also call each other.
fn broker_authentication(id: &str, secret: &str) -> String {
    let user = json!({"username": id, "password": secret});
    let inner = inner_credentials(id, secret);
    format!(
        "authenticationEnabled=true\n\
         authenticationProvider={AUTHENTICATION}\n\
         authenticationMetadataProvider={BROKER_USERS}\n\
         initAuthenticationUser={user}\n\
         innerClientAuthenticationCredentials={inner}\n"
    )
}

fn inner_credentials(id: &str, secret: &str) -> String {
    json!({"accessKey": id, "secretKey": secret}).to_string()
}

/// Arguments of the name server.
pub(super) fn namesrv(dir: &Path) -> Vec<String> {
    let words = ["-Xms32m", "-Xmx256m", "org.apache.rocketmq.namesrv.NamesrvStartup", "-c"];
    let mut words: Vec<_> = words.map(str::to_owned).into();
    words.push(dir.join("namesrv.conf").display().to_string());
    words
}

/// Arguments of the process that is the proxy, and the broker too unless that is one of its own.
pub(super) fn proxy(dir: &Path, ports: &Ports, options: &Options) -> Vec<String> {
    let file = |name: &str| dir.join(name).display().to_string();
    let mut words = jvm("org.apache.rocketmq.proxy.ProxyStartup", ports);
    words.extend(["-pc".to_owned(), file("rmq-proxy.json")]);
    match options.cluster {
        true => words.extend(["-pm", "cluster"].map(str::to_owned)),
        false => {
            words.extend(["-pm", "local", "-bc"].map(str::to_owned));
            words.push(file("broker.conf"));
        }
    }
    words
}

/// Arguments of a broker in a process of its own.
pub(super) fn broker(dir: &Path, ports: &Ports) -> Vec<String> {
    let mut words = jvm("org.apache.rocketmq.broker.BrokerStartup", ports);
    words.extend(["-c".to_owned(), dir.join("broker.conf").display().to_string()]);
    words
}

fn jvm(class: &str, ports: &Ports) -> Vec<String> {
    let mut words: Vec<_> = ["-Xms64m", "-Xmx768m", "-XX:MaxDirectMemorySize=256m", class, "-n"]
        .map(str::to_owned)
        .into();
    words.push(format!("127.0.0.1:{}", ports.namesrv));
    words
}
