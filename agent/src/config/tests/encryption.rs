//! `[gateway] encryption_key` and `former_keys`, and what lanes do to their records on disk.

use super::{SMALL, Setup};

const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn setup(gateway: &str) -> Setup {
    Setup::new(&format!("[gateway]\n{gateway}\n{SMALL}")).variable("KEY", HEX)
}

#[test]
fn a_key_comes_from_where_secrets_do_in_hex_or_base64_and_never_shows() {
    let counted: [u8; 32] = std::array::from_fn(|nth| nth as u8);
    for text in [HEX, BASE64, &HEX.to_uppercase(), &format!("{HEX}\n")] {
        let setup = setup("encryption_key = { credential = \"key\" }").file("key", text);
        let folder = setup.folder.path().display().to_string();
        let gateway = setup.variable("CREDENTIALS_DIRECTORY", &folder).good().gateway;
        assert_eq!(gateway.encryption_key.as_ref().unwrap().bytes(), &counted);
        let shown = format!("{gateway:?}");
        assert!(shown.contains("encryption_key: Some(***)"), "{shown}");
    }
    let gateway = setup("").good().gateway;
    assert_eq!((gateway.encryption_key, gateway.former_keys), (None, vec![]));
}

#[test]
fn former_keys_are_a_list_of_such() {
    let keys = "encryption_key = { env = \"KEY\" }\nformer_keys = [{ file = \"FILE\" }]";
    let setup = setup(keys).file("other", OTHER);
    let text = std::fs::read_to_string(setup.path("spillway.toml")).unwrap();
    let path = setup.path("other").display().to_string();
    let setup = setup.file("spillway.toml", &text.replace("FILE", &path));
    let gateway = setup.good().gateway;
    assert_eq!(gateway.former_keys[0].bytes()[0], 0xff);
    assert_ne!(gateway.encryption_key.as_ref(), gateway.former_keys.first());
}

#[test]
fn what_is_no_key_is_refused_with_how_to_make_one_and_not_shown() {
    let make = "make one with openssl rand -hex 32";
    for (key, problem) in [
        ("hidden, secret", "is neither hex digits nor base64".to_owned()),
        (&HEX[..60], "has 45 bytes, a key 32".to_owned()),
        ("c2hvcnQ=", "has 5 bytes, a key 32".to_owned()),
        (&"ab".repeat(32), "is not random".to_owned()),
    ] {
        let faults =
            setup("encryption_key = { env = \"KEY\" }").variable("KEY", key).faults_by_line();
        assert_eq!(faults, [format!("2: gateway.encryption_key: {problem}; {make}")]);
    }
}

#[test]
fn former_keys_that_make_no_sense_are_said() {
    let both = "encryption_key = { env = \"KEY\" }\nformer_keys = [{ env = \"KEY\" }]";
    assert_eq!(
        setup(both).faults_by_line(),
        ["3: gateway.former_keys: lists the present encryption_key; leave it out there, or give \
             encryption_key a new one"]
    );
    assert_eq!(
        setup("former_keys = \"x\"").faults_by_line(),
        ["2: gateway.former_keys: is a text, not a list; write for example [{ file = \"/path\" }]"]
    );
    assert_eq!(
        setup("former_keys = [{ env = \"KEY\" }]").warnings()[0],
        "spillway.toml:2: gateway.former_keys: stand without an encryption_key: records are stored as \
         they are from now on"
    );
}

#[test]
fn a_lane_compresses_if_it_says_so() {
    let lane = |line: &str| Setup::new(&format!("{SMALL}{line}"));
    assert!(!lane("").good().lanes[0].lz4 && !lane("compress = \"none\"").good().lanes[0].lz4);
    assert!(lane("compress = \"lz4\"").good().lanes[0].lz4);
    assert_eq!(
        lane("compress = \"zstd\"").faults_by_line(),
        ["4: lane.main.compress: is not one of its words; write \"none\" or \"lz4\""]
    );
}
