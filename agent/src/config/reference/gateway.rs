//! The gateway itself, its limits, and who reaches it.

use super::Default::{Is, Needed, Words};
use super::{Key, Section};

pub(super) const SECTIONS: &[Section] =
    &[GATEWAY, LIMITS, LISTEN, HTTP, MQ_HTTP, ACCESS_KEYS, ADMIN, CLIENT, CLIENT_BY_TOKEN];

const GATEWAY: Section = Section {
    header: "[gateway]",
    name: "gateway",
    about: "Who this gateway is, and where its queue lies.",
    variable: "GATEWAY",
    around: "[gateway]\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "id",
            takes: "text, 1 to 64 bytes without white space, controls or `\"'&<>:|`",
            default: Words("a hash of this machine's id, made for Spillway only", "\"gw-0042\""),
            about: "Who this gateway is: every record carries it. Two gateways with one id look like one that counts wrongly.",
            refused: &["\"\"", "\"gw 0042\"", "\"gw:0042\""],
        },
        Key {
            name: "data_dir",
            takes: "path of a folder",
            default: Is("\"/var/lib/spillway\""),
            about: "The queue. It must be on a disk that keeps what it was told to sync. What waits does not move along by itself: [install.md](install.md#another-place-for-the-queue).",
            refused: &["\"\""],
        },
        Key {
            name: "encryption_key",
            takes: "secret of 32 bytes, as hex digits or base64",
            default: Words(
                "none: records lie there as they came",
                "{ file = \"/etc/spillway/encryption_key\" }",
            ),
            about: "Seals records on disk from now on. Keep a copy elsewhere: without it nobody reads them, nor does the agent ([encryption.md](encryption.md)).",
            refused: &[
                "\"not a key\"",
                "\"0000000000000000000000000000000000000000000000000000000000000000\"",
            ],
        },
        Key {
            name: "former_keys",
            takes: "list of such secrets",
            default: Words("none", "[{ file = \"/etc/spillway/former_key\" }]"),
            about: "Keys that sealed what is still there. For a new key, move the old one here until all that it sealed has left.",
            refused: &["{ file = \"/etc/spillway/former_key\" }"],
        },
    ],
};

const LIMITS: Section = Section {
    header: "[limits]",
    name: "limits",
    about: "What the agent may take up of this machine.",
    variable: "LIMITS",
    around: "[limits]\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "memory",
            takes: "size, 16 MiB or more",
            default: Is("\"32 MiB\""),
            about: "What records in flight, connections and answers may hold in memory; beyond it apps are asked to try later (503).",
            refused: &["\"8 MiB\"", "32"],
        },
        Key {
            name: "disk",
            takes: "percentage of the file system (then at most 4 GiB), or a size of 1 MiB or more",
            default: Is("\"10%\""),
            about: "What the lanes' files may take up together; lanes without a `quota` share it by weight. Beyond it new records are refused (507) or the oldest dropped, see `when_full`. Tables of ids, dead letters and `[audit]` come on top.",
            refused: &["\"0%\"", "\"64 KiB\"", "\"2\""],
        },
        Key {
            name: "keep_free",
            takes: "percentage of the file system (then at most 4 GiB), or a size",
            default: Is("\"15%\""),
            about: "What always stays free on the file system, inodes in the same proportion. A disk that others have filled refuses records too.",
            refused: &["\"100%\""],
        },
    ],
};

const LISTEN: Section = Section {
    header: "[listen]",
    name: "listen",
    about: "Where apps and operators come in. Under systemd `spillway.socket` opens the intake: another path or mode has to stand there, too ([install.md](install.md#restarts-upgrades-apps-that-wait)).",
    variable: "LISTEN",
    around: "[listen]\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "socket",
            takes: "path of at most 107 bytes",
            default: Is("\"/run/spillway/spillway.sock\""),
            about: "The intake: records, the state of one's own record, counts ([curl.md](curl.md)).",
            refused: &["\"\""],
        },
        Key {
            name: "mode",
            takes: "octal mode, in quotes",
            default: Is("\"0660\""),
            about: "Who may connect to the intake.",
            refused: &["\"0999\"", "660"],
        },
        Key {
            name: "control",
            takes: "path of at most 107 bytes",
            default: Words("`control.sock` beside the socket", "\"/run/spillway/control.sock\""),
            about: "Where operators look into queue and dead letters; always mode 0600.",
            refused: &["\"/run/spillway/spillway.sock\""],
        },
    ],
};

const HTTP: Section = Section {
    header: "[listen.http]",
    name: "http",
    about: "Optional: the intake's HTTP on loopback TCP, for apps without Unix sockets ([curl.md](curl.md)).",
    variable: "LISTEN__HTTP",
    around: "[listen.http]\naddress = \"127.0.0.1:9466\"\ntoken = \"0123456789abcdef\"\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "address",
            takes: "loopback address and port",
            default: Needed("\"127.0.0.1:9466\""),
            about: "Where these apps find it. There is no TLS here.",
            refused: &["\"0.0.0.0:9466\"", "\"127.0.0.1:0\"", "\"localhost:9466\""],
        },
        Key {
            name: "token",
            takes: "secret, 16 characters or more",
            default: Needed("{ file = \"/etc/spillway/http_token\" }"),
            about: "What each request must bring, as `Authorization: Bearer TOKEN`. Not beside `[[client]]` entries: with any, only their own tokens let in.",
            refused: &["\"secret\""],
        },
    ],
};

const MQ_HTTP: Section = Section {
    header: "[listen.mq_http]",
    name: "mq_http",
    about: "Optional: the MQ HTTP API on this machine, for apps written for its SDKs ([ADR 6](adr/0006-the-mq-http-front.md)).",
    variable: "LISTEN__MQ_HTTP",
    around: "[listen.mq_http]\naddress = \"127.0.0.1:8088\"\naccess_keys = [{ id = \"local-app\", secret = \"s\" }]\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "address",
            takes: "loopback address and port",
            default: Needed("\"127.0.0.1:8088\""),
            about: "Where these apps find it. There is no TLS here.",
            refused: &["\"0.0.0.0:8088\"", "\"127.0.0.1:0\"", "\"localhost:8088\""],
        },
        Key {
            name: "access_keys",
            takes: "list of `{ id, secret }`",
            default: Needed(
                "[{ id = \"local-app\", secret = { file = \"/etc/spillway/local_app_secret\" } }]",
            ),
            about: "Keys with which apps sign; local to this agent, not the upstream's.",
            refused: &["[]", "[{ id = \"a\", secret = \"1\" }, { id = \"a\", secret = \"2\" }]"],
        },
    ],
};

const ACCESS_KEYS: Section = Section {
    header: "[[listen.mq_http.access_keys]]",
    name: "access_keys",
    about: "",
    variable: "",
    around: "[listen.mq_http]\naddress = \"127.0.0.1:8088\"\n[[listen.mq_http.access_keys]]\nid = \"local-app\"\nsecret = \"s\"\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "id",
            takes: "text without white space and colons",
            default: Needed("\"local-app\""),
            about: "The access key's id, each once.",
            refused: &["\"local:app\"", "\"\""],
        },
        Key {
            name: "secret",
            takes: "secret",
            default: Needed("{ file = \"/etc/spillway/local_app_secret\" }"),
            about: "Its secret.",
            refused: &["\"\""],
        },
    ],
};

const ADMIN: Section = Section {
    header: "[listen.admin]",
    name: "admin",
    about: "Optional: metrics and health over HTTP, read-only ([metrics.md](metrics.md)).",
    variable: "LISTEN__ADMIN",
    around: "[listen.admin]\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "address",
            takes: "IP address and port",
            default: Is("\"127.0.0.1:9465\""),
            about: "Other than loopback only with a token: there is no TLS here.",
            refused: &["\"0.0.0.0:9465\"", "\"127.0.0.1:0\"", "\"gw:9465\""],
        },
        Key {
            name: "token",
            takes: "secret, 16 characters or more",
            default: Words("none", "{ file = \"/etc/spillway/admin_token\" }"),
            about: "What each request must bring, as `Authorization: Bearer TOKEN`.",
            refused: &["\"secret\"", "\"sixteen-or-more-é\""],
        },
        Key {
            name: "hosts",
            takes: "list of names",
            default: Words("none: it is asked by its address", "[\"gw-0042.plant.example\"]"),
            about: "Names by which browsers and scrapers may ask for it.",
            refused: &["[\"gw-0042.plant.example:9465\"]", "\"gw-0042\""],
        },
    ],
};

const CLIENT: Section = Section {
    header: "[[client]]",
    name: "client",
    about: "Optional: users of this machine that may use the intake socket, told by the kernel. With any, everybody else is refused (403), but for root and the agent's own user, who may look and not store. Clients merge by name over several files. It does not concern `[listen.mq_http]`.",
    variable: "CLIENT__NAME",
    around: "[presence]\ntopic = \"gateway-status\"\nclient_group = \"GID_gateways\"\n[[client]]\nname = \"his\"\nuid = 991\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "name",
            takes: "letters, digits, `_` and `-`, at most 64",
            default: Needed("\"his\""),
            about: "Its name in messages, and in presence events the last part of its client id.",
            refused: &["\"his app\""],
        },
        Key {
            name: "uid",
            takes: "number",
            default: Needed("991"),
            about: "The user (`id -u USER` says it); the socket's mode must let it in too.",
            refused: &["\"his\"", "-1"],
        },
        Key {
            name: "gid",
            takes: "number",
            default: Words("any", "991"),
            about: "Its primary group, where one user runs several clients.",
            refused: &["\"his\""],
        },
        Key {
            name: "lanes",
            takes: "list of lanes' names",
            default: Words("all", "[\"main\"]"),
            about: "Lanes it may use and ask about. A client without the default lane has to name its lane in each record.",
            refused: &["[]", "[\"other\"]"],
        },
        Key {
            name: "presence",
            takes: "flag",
            default: Is("false"),
            about: "Tell the centre when it is connected; needs `[presence]`.",
            refused: &["\"yes\""],
        },
        Key {
            name: "records_per_second",
            takes: "number, 1 or more",
            default: Words("no bound", "100"),
            about: "Most records it may hand over, all its connections together; beyond it 429. One second's worth may come at once.",
            refused: &["0"],
        },
    ],
};

const CLIENT_BY_TOKEN: Section = Section {
    header: "[[client]] of [listen.http]",
    name: "client",
    about: "An app that comes over `[listen.http]` is told by its token, beside `uid` or instead of it.",
    variable: "CLIENT__NAME",
    around: "[listen.http]\naddress = \"127.0.0.1:9466\"\n[[client]]\nname = \"other\"\ntoken = \"fedcba9876543210\"\n[[client]]\nname = \"his\"\nuid = 991\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[Key {
        name: "token",
        takes: "secret, 16 characters or more",
        default: Words("none: it comes by the socket", "{ file = \"/etc/spillway/http_token\" }"),
        about: "What its requests must bring, as `Authorization: Bearer TOKEN`.",
        refused: &["\"secret\"", "\"fedcba9876543210\""],
    }],
};
