//! Dead letters, pace, and what travels beside the records.

use super::Default::{Is, Needed, Words};
use super::{Key, Section};

pub(super) const SECTIONS: &[Section] =
    &[DEAD, DRAIN, BACKOFF, BUDGET, AUDIT, CONTROL, REPORT, PRESENCE];

const DEAD: Section = Section {
    header: "[dead]",
    name: "dead",
    about: "The local dead letters: records that RocketMQ refuses for their own sake.",
    variable: "DEAD",
    around: "[dead]\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "keep",
            takes: "size",
            default: Is("\"64 MiB\""),
            about: "Most bytes of dead letters.",
            refused: &["64"],
        },
        Key {
            name: "keep_for",
            takes: "duration",
            default: Is("\"30d\""),
            about: "Older letters are purged: counted as dropped and told by tombstones. Time that no clock measured counts as none.",
            refused: &["\"0s\"", "\"1 month\""],
        },
        Key {
            name: "when_full",
            takes: "`\"hold\"` or `\"drop-oldest\"`",
            default: Is("\"hold\""),
            about: "Beyond `keep` lanes are held, so that nothing is lost, or the oldest letters are purged.",
            refused: &["\"reject\""],
        },
    ],
};

const DRAIN: Section = Section {
    header: "[drain]",
    name: "drain",
    about: "How fast records leave. Rates are upper bounds; what is sent again counts as well.",
    variable: "DRAIN",
    around: "[drain]\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "adaptive",
            takes: "flag",
            default: Is("true"),
            about: "A pace that finds by itself what the broker takes. `false`: the numbers below alone.",
            refused: &["\"yes\""],
        },
        Key {
            name: "records_per_second",
            takes: "number, 1 or more, or `\"auto\"`",
            default: Is("\"auto\""),
            about: "Upper bound; `auto`: no bound of yours.",
            refused: &["0", "\"fast\""],
        },
        Key {
            name: "bytes_per_second",
            takes: "size",
            default: Is("\"256 KiB\""),
            about: "Upper bound in bytes.",
            refused: &["\"0 B\"", "262144"],
        },
        Key {
            name: "reconnect_spread",
            takes: "duration, or `\"auto\"`",
            default: Is("\"auto\""),
            about: "Window over which a fleet's first sends are spread, after an outage and after a start; not while nothing was ever delivered from this data folder, so that a new gateway shows at once whether it works. `auto`: as long as the gateway takes to make 30 records, 10 s to 15 min.",
            refused: &["30"],
        },
    ],
};

const BACKOFF: Section = Section {
    header: "[backoff]",
    name: "backoff",
    about: "Waits after link errors, drawn between 0 and a bound that doubles from `initial` to `max`.",
    variable: "BACKOFF",
    around: "[backoff]\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "initial",
            takes: "duration",
            default: Is("\"5s\""),
            about: "Bound of the first wait.",
            refused: &["\"0s\"", "5", "\"3m\""],
        },
        Key {
            name: "max",
            takes: "duration",
            default: Is("\"2m\""),
            about: "Bound of every wait.",
            refused: &["\"1s\""],
        },
    ],
};

const BUDGET: Section = Section {
    header: "[budget]",
    name: "budget",
    about: "Optional, for metered links: bytes on the wire in a day (UTC), out and back, with TLS, retries, probes and an estimate of what TCP and IP add. When all is used nothing is sent before the next day; nothing is dropped.",
    variable: "BUDGET",
    around: "[budget]\nbytes_per_day = \"20 MiB\"\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "bytes_per_day",
            takes: "size, 64 KiB or more",
            default: Needed("\"20 MiB\""),
            about: "Most bytes in a day.",
            refused: &["\"1 KiB\"", "20"],
        },
        Key {
            name: "reserve",
            takes: "percentage below 100%",
            default: Is("\"25%\""),
            about: "What only lanes of the smallest priority number, and the agent's own records, may use.",
            refused: &["\"100%\"", "25"],
        },
    ],
};

const AUDIT: Section = Section {
    header: "[audit]",
    name: "audit",
    about: "Optional: delivered records are kept, so that they can be sent again when they are asked for (`spillway resend`, `[control]`). The oldest go first.",
    variable: "AUDIT",
    around: "[audit]\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "keep",
            takes: "size",
            default: Is("\"1 GiB\""),
            about: "Bytes of all lanes together.",
            refused: &["1"],
        },
        Key {
            name: "keep_for",
            takes: "duration",
            default: Is("\"7d\""),
            about: "For how long.",
            refused: &["7"],
        },
    ],
};

const CONTROL: Section = Section {
    header: "[control]",
    name: "control",
    about: "Optional: what the centre asks of this gateway, a small signed page that is pulled while the link is up ([central-control](../examples/central-control/README.md) serves it). Needs `[audit]`; what cannot be sent again is answered by `[report]`.",
    variable: "CONTROL",
    around: "[audit]\n[report]\ntopic = \"gateway-report\"\n[control]\nurl = \"https://centre.example/{gateway}.json\"\npublic_key = \"6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=\"\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "url",
            takes: "`https://` address; `{gateway}` stands for this gateway's id",
            default: Needed("\"https://centre.example/spillway/{gateway}.json\""),
            about: "Where the page is.",
            refused: &["\"http://centre.example/\"", "\"https://me:secret@centre.example/\""],
        },
        Key {
            name: "every",
            takes: "duration, 1 s or more",
            default: Is("\"30m\""),
            about: "Longest time between two pulls.",
            refused: &["\"100ms\""],
        },
        Key {
            name: "public_key",
            takes: "Ed25519 key in base64, or a file with it",
            default: Needed("\"6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=\""),
            about: "Whose signature counts: the line that `central-control keygen` prints.",
            refused: &["\"a key\""],
        },
        Key {
            name: "records_per_day",
            takes: "number, 1 or more",
            default: Is("10000"),
            about: "Most records that are sent again in a day.",
            refused: &["0"],
        },
        Key {
            name: "ca",
            takes: "path of a PEM file",
            default: Words("the system's authorities", "\"/etc/spillway/ca.pem\""),
            about: "The only authorities to trust for this page.",
            refused: &["\"/etc/spillway/missing.pem\""],
        },
        Key {
            name: "proxy",
            takes: "flag",
            default: Is("true"),
            about: "The way leads through `[upstream] proxy`, where there is one; never to a page on this machine.",
            refused: &["\"http://proxy.plant.example:3128\""],
        },
        Key {
            name: "plaintext",
            takes: "flag",
            default: Is("false"),
            about: "Lets the page come over `http://`. It is signed, but everybody on the way can read it.",
            refused: &["1"],
        },
    ],
};

const REPORT: Section = Section {
    header: "[report]",
    name: "report",
    about: "Optional: the gateway's own state as a record, and its tombstones: which numbers will never arrive, and why ([own-records.md](own-records.md)).",
    variable: "REPORT",
    around: "[report]\ntopic = \"gateway-report\"\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "topic",
            takes: "RocketMQ topic",
            default: Needed("\"gateway-report\""),
            about: "The topic of both.",
            refused: &["\"gateway report\""],
        },
        Key {
            name: "every",
            takes: "duration, 1 s or more",
            default: Is("\"15m\""),
            about: "Longest time between two reports while the link is up.",
            refused: &["\"100ms\""],
        },
    ],
};

const PRESENCE: Section = Section {
    header: "[presence]",
    name: "presence",
    about: "Optional: connect, disconnect and tcpclean events of this gateway's link, as ApsaraMQ for MQTT sends them ([own-records.md](own-records.md)).",
    variable: "PRESENCE",
    around: "[presence]\ntopic = \"gateway-status\"\nclient_group = \"GID_gateways\"\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "topic",
            takes: "RocketMQ topic",
            default: Needed("\"gateway-status\""),
            about: "Their topic.",
            refused: &["\"gateway status\""],
        },
        Key {
            name: "client_group",
            takes: "letters, digits, `_` and `-`, at most 64",
            default: Needed("\"GID_gateways\""),
            about: "First part of the client id, which is `client_group@@@gateway id`; that of a `[[client]]` with `presence = true` ends with `:name`.",
            refused: &["\"GID gateways\""],
        },
        Key {
            name: "linger",
            takes: "duration",
            default: Is("\"30s\""),
            about: "A client that has had no connection for so long is gone.",
            refused: &["30"],
        },
    ],
};
