//! The way to RocketMQ.

use super::Default::{Is, Needed, Words};
use super::{Key, Section};

pub(super) const SECTIONS: &[Section] = &[UPSTREAM, KEYS, LISTED, PROXY, TLS];

const SECURITY_TOKEN: Key = Key {
    name: "security_token",
    takes: "secret",
    default: Words("none", "{ file = \"/etc/spillway/security_token\" }"),
    about: "Where the key is a temporary one (STS).",
    refused: &["\"\""],
};

const UPSTREAM: Section = Section {
    header: "[upstream]",
    name: "upstream",
    about: "The way to RocketMQ. Without this section records are taken in and wait.",
    variable: "UPSTREAM",
    around: "[upstream]\nendpoint = \"https://mq.example\"\naccess_key_id = \"id\"\naccess_key_secret = \"s\"\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "transport",
            takes: "`\"http\"` or `\"grpc\"`",
            default: Is("\"http\""),
            about: "`http`: the HTTP API of ApsaraMQ for RocketMQ 4.x. `grpc`: RocketMQ 5.x and everything else.",
            refused: &["\"tcp\""],
        },
        Key {
            name: "endpoint",
            takes: "`https://host:port`; over gRPC `host:port`, or a list of them",
            default: Needed("\"https://1234567890.mqrest.eu-central-1.aliyuncs.com\""),
            about: "Where RocketMQ is. A list's entries take turns.",
            refused: &[
                "\"mq.example:80\"",
                "\"http://mq.example\"",
                "[\"https://a.example\", \"https://b.example\"]",
                "[]",
            ],
        },
        Key {
            name: "plaintext",
            takes: "flag",
            default: Is("false"),
            about: "Lets records leave this machine without encryption. To this machine itself they may anyway.",
            refused: &["1"],
        },
        Key {
            name: "instance_id",
            takes: "letters, digits, `_`, `-`, `%`",
            default: Words("none", "\"MQ_INST_1234567890_BX1abcde\""),
            about: "The instance, over HTTP.",
            refused: &["\"MQ INST\"", "\"MQ_INST_1\"\ntransport = \"grpc\""],
        },
        Key {
            name: "namespace",
            takes: "letters, digits, `_`, `-`, `%`",
            default: Words("none", "\"MQ_INST_1234567890_BX1abcde\"\ntransport = \"grpc\""),
            about: "The same over gRPC.",
            refused: &["\"MQ_INST_1\""],
        },
        Key {
            name: "access_key_id",
            takes: "text, or a source like a secret's",
            default: Needed("\"LTAI1234\""),
            about: "The access key. Over gRPC both may be left out.",
            refused: &["\"\""],
        },
        Key {
            name: "access_key_secret",
            takes: "secret",
            default: Needed("{ file = \"/etc/spillway/access_key_secret\" }"),
            about: "Its secret. A file is read again when RocketMQ refuses the key.",
            refused: &["{ path = \"/etc/spillway/access_key_secret\" }", "{ env = \"NOT_SET\" }"],
        },
        SECURITY_TOKEN,
        Key {
            name: "proxy",
            takes: "`http://host:port`, or the section below",
            default: Words(
                "none; none is taken from the environment's `http_proxy` either",
                "\"http://proxy.plant.example:3128\"",
            ),
            about: "The HTTP proxy to go through, by CONNECT, also where the endpoint speaks no TLS. Its name is resolved here, the endpoint's by the proxy.",
            refused: &["\"socks5://proxy.plant.example:1080\""],
        },
    ],
};

const KEYS: Section = Section {
    header: "[upstream] with other access keys",
    name: "upstream",
    about: "Instead of the one key above: several that overlap, or a program that brings one.",
    variable: "",
    around: "[upstream]\ntransport = \"grpc\"\nendpoint = \"mq.example:8081\"\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "credentials",
            takes: "list of access keys, each as in the section below",
            default: Words(
                "none",
                "[{ access_key_id = \"LTAI1234\", access_key_secret = { file = \"/etc/spillway/access_key_secret\" } }]",
            ),
            about: "The next one is tried when RocketMQ refuses one, so that a new key is added before the old one ends.",
            refused: &["[]"],
        },
        Key {
            name: "credential_command",
            takes: "list of a program's absolute path and its arguments",
            default: Words("none", "[\"/bin/cat\", \"/run/spillway-key.json\"]"),
            about: "Prints a key as JSON: `access_key_id`, `access_key_secret`, `security_token`, `expires_at`, or what Alibaba Cloud's STS calls them. It is run at the start, before the key ends, and when it is refused; no shell reads it.",
            refused: &["\"/bin/cat\"", "[\"cat\"]", "[]"],
        },
    ],
};

const LISTED: Section = Section {
    header: "[[upstream.credentials]]",
    name: "credentials",
    about: "",
    variable: "",
    around: "[upstream]\nendpoint = \"https://mq.example\"\n[[upstream.credentials]]\naccess_key_id = \"id\"\naccess_key_secret = \"s\"\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "access_key_id",
            takes: "text, or a source like a secret's",
            default: Needed("\"LTAI1234\""),
            about: "The access key.",
            refused: &["\"\""],
        },
        Key {
            name: "access_key_secret",
            takes: "secret",
            default: Needed("{ file = \"/etc/spillway/access_key_secret\" }"),
            about: "Its secret.",
            refused: &["{ env = \"NOT_SET\" }"],
        },
        SECURITY_TOKEN,
    ],
};

const PROXY: Section = Section {
    header: "[upstream.proxy]",
    name: "proxy",
    about: "A proxy that asks who comes.",
    variable: "UPSTREAM__PROXY",
    around: "[upstream]\nendpoint = \"https://mq.example\"\naccess_key_id = \"id\"\naccess_key_secret = \"s\"\n[upstream.proxy]\nurl = \"http://p.example:3128\"\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "url",
            takes: "`http://host:port`",
            default: Needed("\"http://proxy.plant.example:3128\""),
            about: "Where it is.",
            refused: &["\"proxy.plant.example\""],
        },
        Key {
            name: "user",
            takes: "text, or a source like a secret's",
            default: Words("none", "\"gw-0042\"\npassword = \"p\""),
            about: "As whom.",
            refused: &["\"gw-0042\""],
        },
        Key {
            name: "password",
            takes: "secret",
            default: Words(
                "none",
                "{ file = \"/etc/spillway/proxy_password\" }\nuser = \"gw-0042\"",
            ),
            about: "Its password.",
            refused: &["\"p\""],
        },
    ],
};

const TLS: Section = Section {
    header: "[upstream.tls]",
    name: "tls",
    about: "Whom to trust, and as whom to come. Paths name PEM files that the agent's user can read.",
    variable: "UPSTREAM__TLS",
    around: "[upstream]\nendpoint = \"https://mq.example\"\naccess_key_id = \"id\"\naccess_key_secret = \"s\"\n[upstream.tls]\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "ca",
            takes: "path",
            default: Words("the system's authorities", "\"/etc/spillway/ca.pem\""),
            about: "The only authorities to trust.",
            refused: &["\"/etc/spillway/missing.pem\""],
        },
        Key {
            name: "certificate",
            takes: "path",
            default: Words(
                "none",
                "\"/etc/spillway/gateway.pem\"\nkey = \"/etc/spillway/gateway.key\"",
            ),
            about: "This gateway's own certificate.",
            refused: &["\"/etc/spillway/gateway.pem\""],
        },
        Key {
            name: "key",
            takes: "path",
            default: Words(
                "none",
                "\"/etc/spillway/gateway.key\"\ncertificate = \"/etc/spillway/gateway.pem\"",
            ),
            about: "Its private key.",
            refused: &["\"/etc/spillway/gateway.key\""],
        },
        Key {
            name: "server_name",
            takes: "host name",
            default: Words("the endpoint's", "\"mq.example\""),
            about: "The name to expect in the server's certificate.",
            refused: &["\"https://mq.example\""],
        },
    ],
};
