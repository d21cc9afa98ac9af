//! Lanes, and the routes that lead to them.

use super::Default::{Is, Needed, Words};
use super::{Key, Section};

pub(super) const SECTIONS: &[Section] = &[LANE, BUNDLE, BATCH, DEGRADE, ROUTE];

const LANE: Section = Section {
    header: "[[lane]]",
    name: "lane",
    about: "A queue of its own with topic, order, priority, holds and accounts: a slow one does not hold up the others. At least one. Lanes merge by name over several files.",
    variable: "LANE__NAME",
    around: "[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n@\n",
    keys: &[
        Key {
            name: "name",
            takes: "lower-case letters, digits, `_` and `-`",
            default: Needed("\"main\""),
            about: "The lane's records are found again by this name: do not change it.",
            refused: &["\"Main\"", "\"_main\"", "\"\""],
        },
        Key {
            name: "topic",
            takes: "RocketMQ topic; over HTTP at most 64 characters",
            default: Needed("\"ward-critical\""),
            about: "The topic of records that name none.",
            refused: &["\"ward critical\"", "\"\""],
        },
        Key {
            name: "tag",
            takes: "RocketMQ tag",
            default: Words("none", "\"SyncEvent\""),
            about: "The tag of records that name none.",
            refused: &["\"a||b\"", "\"\""],
        },
        Key {
            name: "default",
            takes: "flag",
            default: Words("`true` for the only lane, else `false`", "true"),
            about: "The lane of records that name none: exactly one.",
            refused: &["false"],
        },
        Key {
            name: "priority",
            takes: "number, 0 or more",
            default: Is("1"),
            about: "Smaller first, absolutely, but for the others' `min_share`. First sends of 0 wait an eighth of their place in `reconnect_spread`.",
            refused: &["-1", "\"high\""],
        },
        Key {
            name: "weight",
            takes: "number, 1 or more",
            default: Is("1"),
            about: "Share among lanes of one priority, of sends and of `[limits] disk`.",
            refused: &["0"],
        },
        Key {
            name: "min_share",
            takes: "percentage",
            default: Is("\"5%\""),
            about: "What of all sends the lane keeps while it has something to send, whatever the priorities. Where the shares of several come to more than all, each keeps its part of them.",
            refused: &["5", "\"101%\""],
        },
        Key {
            name: "order",
            takes: "`\"none\"`, `\"key\"` or `\"lane\"`",
            default: Is("\"none\""),
            about: "`key`: records of one order key stay in order. `lane`: all of them do, one message a round trip, see `bundle`.",
            refused: &["\"strict\""],
        },
        Key {
            name: "on_reject",
            takes: "`\"dead-letter\"` or `\"hold\"`",
            default: Words(
                "`\"dead-letter\"`; with `order = \"key\"` or `\"lane\"` it is `\"hold\"`",
                "\"hold\"",
            ),
            about: "What becomes of a record that RocketMQ refuses for its own sake: to the local dead letters, or it holds its lane or order key. Where the refusal does not tell whose fault it is, it goes there once a later record of its topic has passed; with `order = \"lane\"` none can, and it holds the lane ([runbook](runbooks.md#held)).",
            refused: &["\"drop\""],
        },
        Key {
            name: "ttl",
            takes: "duration, 1 s or more, or `\"none\"`",
            default: Is("\"none\""),
            about: "Age at which waiting records are given up, counted and told by tombstones. Real time since acceptance, also while the agent did not run or the machine was off; time that nobody measured counts as none.",
            refused: &["\"500ms\"", "7", "\"1 month\""],
        },
        Key {
            name: "quota",
            takes: "size, 1 MiB or more, or `\"none\"`",
            default: Is("\"none\""),
            about: "The most that its files may take up; `none`: its share of `[limits] disk` by weight.",
            refused: &["\"512 KiB\"", "\"10%\""],
        },
        Key {
            name: "when_full",
            takes: "`\"reject\"` or `\"drop-oldest\"`",
            default: Is("\"reject\""),
            about: "A full lane refuses new records (507), or drops the oldest ones, in whole files: counted, told by tombstones and never sent.",
            refused: &["\"hold\""],
        },
        Key {
            name: "freshness",
            takes: "duration, 100 ms to 1 h",
            default: Words("none: the oldest first", "\"5s\""),
            about: "Records that wait no longer than this leave before an older backlog, which keeps a fifth of what the lane sends ([ADR 10](adr/0010-live-and-backlog.md)).",
            refused: &["\"10ms\"", "\"2h\"", "\"5s\"\norder = \"key\""],
        },
        Key {
            name: "compress",
            takes: "`\"none\"` or `\"lz4\"`",
            default: Is("\"none\""),
            about: "Compresses records on disk: JSON takes a quarter of the room. `bundle.compress` is what goes over the wire.",
            refused: &["\"deflate\""],
        },
        Key {
            name: "bundle",
            takes: "section, `{}` for its defaults",
            default: Words("off: one record a message", "{}"),
            about: "Several records in one message, for consumers that [unpack them](message-format.md#bundles).",
            refused: &["true"],
        },
        Key {
            name: "batch",
            takes: "section, `{}` for its defaults",
            default: Words("off: one message a request", "{}"),
            about: "Several messages in one request, over gRPC without order. Brokers before 5.3.4 give all of a batch the keys and properties of its first.",
            refused: &["{}\norder = \"key\"", "{}\nbundle = {}"],
        },
        Key {
            name: "degrade",
            takes: "list of rules",
            default: Words("none", "[{ when = \"disk 80%\", do = \"drop-oldest\" }]"),
            about: "How the lane gives way under pressure, so that others need not. Lanes of lower priorities have to have rules first, and the highest has none while there is another.",
            refused: &["[]", "\"drop-oldest\""],
        },
    ],
};

const BUNDLE: Section = Section {
    header: "[lane.bundle]",
    name: "bundle",
    about: "`bundle = { ... }` in a lane. A bundle holds records of one topic and tag (and order key, where there is order), and is full at whichever bound comes first.",
    variable: "LANE__NAME__BUNDLE",
    around: "[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n[lane.bundle]\n@\n",
    keys: &[
        Key {
            name: "records",
            takes: "number, 2 to 1024",
            default: Is("64"),
            about: "Most records in a message.",
            refused: &["1", "1025"],
        },
        Key {
            name: "bytes",
            takes: "size, 512 B to 1 MiB",
            default: Is("\"16 KiB\""),
            about: "Most bytes of them, bodies and texts, before they are compressed; with deflate that is a message of about 4 KiB. A bound of 4 KiB before compression costs twice the bytes on the wire ([measured](benchmarks.md#bytes-on-the-wire)).",
            refused: &["\"256 B\"", "\"2 MiB\""],
        },
        Key {
            name: "linger",
            takes: "duration, at most 1 min",
            default: Is("\"200ms\""),
            about: "How long less than a bundle waits for more, while the link is up.",
            refused: &["\"2m\""],
        },
        Key {
            name: "compress",
            takes: "`\"deflate\"` or `\"none\"`",
            default: Is("\"deflate\""),
            about: "How the message is compressed.",
            refused: &["\"lz4\""],
        },
    ],
};

const BATCH: Section = Section {
    header: "[lane.batch]",
    name: "batch",
    about: "`batch = { ... }` in a lane. RocketMQ answers once for all of it: a failure sends all of it again, under the same ids.",
    variable: "LANE__NAME__BATCH",
    around: "[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n[lane.batch]\n@\n[upstream]\ntransport = \"grpc\"\nendpoint = \"mq.example:8081\"\n",
    keys: &[Key {
        name: "records",
        takes: "number, 2 to 1024",
        default: Is("64"),
        about: "Most messages in a request.",
        refused: &["1", "1025"],
    }],
};

const DEGRADE: Section = Section {
    header: "[[lane.degrade]]",
    name: "degrade",
    about: "`degrade = [{ when, do, keep }]` in a lane. What is dropped is counted, told by tombstones and never sent.",
    variable: "",
    around: "[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n[[lane.degrade]]\nwhen = \"backlog 6h\"\ndo = \"drop-oldest\"\n@\n",
    keys: &[
        Key {
            name: "when",
            takes: "`\"disk 80%\"`, `\"backlog 6h\"` or `\"budget 50%\"`",
            default: Needed("\"backlog 6h\""),
            about: "`disk`: the lane's files have so much of what they may. `backlog`: the oldest waiting record is so old. `budget`: so much of the day's bytes is used.",
            refused: &["\"disk 100%\"", "\"backlog 10ms\"", "\"budget 50%\"", "\"memory 50%\""],
        },
        Key {
            name: "do",
            takes: "`\"drop-oldest\"`, `\"thin\"` or `\"pause\"`",
            default: Needed("\"drop-oldest\""),
            about: "`drop-oldest` (disk, backlog): until the pressure is a tenth below. `thin` (backlog, without order): of what is too old it keeps the records whose number is a multiple. `pause` (budget): nothing leaves the lane meanwhile.",
            refused: &["\"pause\"", "\"thin\"\nkeep = \"1 in 10\"\nwhen = \"disk 80%\""],
        },
        Key {
            name: "keep",
            takes: "`\"1 in 2\"` to `\"1 in 1000000\"`",
            default: Words("none; `thin` needs it", "\"1 in 10\"\ndo = \"thin\""),
            about: "What thinning keeps.",
            refused: &["\"1 in 1\"\ndo = \"thin\"", "\"1 in 10\""],
        },
    ],
};

const ROUTE: Section = Section {
    header: "[[route]]",
    name: "route",
    about: "Optional: lane, topic, tag and order key by a record's properties, where the record does not name them itself. The first route counts whose properties a record all has; a record that names another lane than the route's does not go this way. At least one of the four has to be there. Routes of several files stand one behind the other.",
    variable: "",
    around: "[[route]]\nwhen = { kind = \"alarm\", zone = \"*\", device = \"*\" }\nlane = \"main\"\ntag = \"alarm\"\n@\n[[lane]]\nname = \"main\"\ntopic = \"spillway\"\n",
    keys: &[
        Key {
            name: "when",
            takes: "properties with their values, `\"*\"` for any",
            default: Needed("{ kind = \"alarm\", zone = \"*\" }"),
            about: "What a record must have; at least one property.",
            refused: &["{}", "{ kind = 7 }", "\"alarm\""],
        },
        Key {
            name: "lane",
            takes: "a lane's name",
            default: Words("the default lane", "\"main\""),
            about: "Where they go.",
            refused: &["\"other\""],
        },
        Key {
            name: "topic",
            takes: "topic, in which `{property}` stands for its value",
            default: Words("the lane's", "\"ward-{zone}\""),
            about: "A brace of its own is written twice. Only properties that `when` names.",
            refused: &["\"ward-{ward}\"", "\"ward-{\""],
        },
        Key {
            name: "tag",
            takes: "the same, a tag",
            default: Words("the lane's", "\"{kind}\""),
            about: "The record's tag.",
            refused: &["\"{ward}\""],
        },
        Key {
            name: "order_key",
            takes: "the same, an order key",
            default: Words("none", "\"{device}\""),
            about: "The record's order key.",
            refused: &["\"{ward}\""],
        },
    ],
};
