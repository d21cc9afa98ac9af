//! Access keys of `[upstream]`: one, several, or a program.

use super::super::Config;
use super::{SMALL, Setup};

const UPSTREAM: &str = "[upstream]\nendpoint = \"https://mq.example\"\n";

fn setup(keys: &str) -> Setup {
    let text = format!("{UPSTREAM}{keys}\n{SMALL}");
    Setup::new(&text).variable("KEY", "hidden").variable("OTHER", "hidden too")
}

#[track_caller]
fn faults(keys: &str) -> Vec<String> {
    setup(keys).faults_by_line()
}

fn ids(config: &Config) -> Vec<&str> {
    let access = &config.upstream.as_ref().unwrap().access;
    access.keys.iter().map(|key| key.id.as_str()).collect()
}

#[test]
fn several_are_read_in_their_order_from_wherever_they_are() {
    let folder = setup("").file("key", "from file\n").file("token", "sts\n");
    let [key, token] = ["key", "token"].map(|name| folder.path(name));
    let list = format!(
        "credentials = [\n{{ access_key_id = \"a\", access_key_secret = {{ file = {key:?} }} }},\n\
         {{ access_key_id = {{ env = \"KEY\" }}, access_key_secret = {{ env = \"OTHER\" }}, \
         security_token = {{ file = {token:?} }} }}]"
    );
    let config = setup(&list).good();
    let access = &config.upstream.as_ref().unwrap().access;
    assert_eq!(ids(&config), ["a", "hidden"]);
    assert_eq!(access.keys[0].secret.reveal(), "from file");
    assert_eq!(access.keys[1].security_token.as_ref().unwrap().reveal(), "sts");
    assert_eq!((access.files.as_slice(), &access.command), (&[key, token][..], &None));
    assert!(!format!("{access:?}").contains("hidden too"));
    let tables = "[[upstream.credentials]]\naccess_key_id = \"x\"\n\
                  access_key_secret = { env = \"KEY\" }\n";
    assert_eq!(ids(&setup(tables).good()), ["x"]);
}

#[test]
fn one_form_is_written_and_not_two() {
    let single = "access_key_id = \"a\"\naccess_key_secret = { env = \"KEY\" }\n";
    let list = "credentials = [{ access_key_id = \"b\", access_key_secret = { env = \"KEY\" } }]\n";
    let command = "credential_command = [\"/bin/true\"]\n";
    assert_eq!(
        faults(&format!("{single}{list}"))[0],
        "3: upstream.access_key_id: stands beside credentials; keep credentials, with this key in \
         it, where keys overlap; else leave it out"
    );
    assert_eq!(
        faults(&format!("{single}{command}"))[0],
        "3: upstream.access_key_id: stands beside credential_command; keep credential_command \
         where a program brings the key; else leave it out"
    );
    assert!(
        faults(&format!("{list}{command}"))[0]
            .starts_with("3: upstream.credentials: stands beside credential_command; ")
    );
}

#[test]
fn each_of_several_is_whole_and_there_once() {
    let key = "{ access_key_id = \"b\", access_key_secret = { env = \"KEY\" } }";
    for (keys, fault) in [
        ("credentials = []".to_owned(), "is an empty list"),
        (format!("credentials = {key}"), "is a section, not a list"),
        ("credentials = [{ access_key_id = \"b\" }]".to_owned(), "access_key_secret: is missing"),
        (format!("credentials = [{key}, {key}]"), "lists b twice with one secret"),
        ("credentials = [{ id = \"b\" }]".to_owned(), "is not known"),
    ] {
        let found = faults(&keys);
        assert!(found.iter().any(|found| found.contains(fault)), "{keys}: {found:#?}");
    }
}

#[test]
fn a_program_is_there_by_its_whole_path_and_its_words_are_a_list() {
    let config = setup("credential_command = [\"/bin/sh\", \"-c\", \"exit 0\"]").good();
    let access = config.upstream.unwrap().access;
    assert_eq!((access.command.unwrap().len(), access.keys.len()), (3, 0));
    let plain = setup("").file("plain", "x");
    let plain = format!("[{:?}]", plain.path("plain"));
    for (command, problem) in [
        ("\"/bin/sh -c x\"", "is a text, not a list of a program and its arguments"),
        ("[]", "is an empty list"),
        ("[\"sh\"]", "names sh, which is no absolute path"),
        ("[\"/bin/sh\", 5]", "holds a number, not a word in quotes"),
        ("[\"/bin\"]", "names /bin, which is no file"),
        ("[\"/no/such\"]", "names /no/such, which cannot be found: "),
        (plain.as_str(), "which nobody may execute"),
    ] {
        let found = faults(&format!("credential_command = {command}"));
        assert!(found.len() == 1 && found[0].contains(problem), "{command}: {found:#?}");
    }
}

#[test]
fn an_argument_that_speaks_of_a_secret_is_warned_of() {
    let warned = |words: &str| {
        let (_, warnings) = setup(&format!("credential_command = {words}")).load().unwrap();
        warnings.iter().any(|warning| warning.to_string().contains("an argument that speaks of"))
    };
    assert!(warned("[\"/bin/sh\", \"--client-secret\", \"s3\"]"));
    assert!(warned("[\"/bin/sh\", \"--token=abc\"]") && warned("[\"/bin/sh\", \"token\"]"));
    assert!(!warned("[\"/bin/sh\", \"--role\", \"gateway\"]"));
    assert!(!warned("[\"/bin/sh\", \"--token-file\", \"/bin/sh\"]"));
    assert!(!warned("[\"/bin/sh\", \"--password=@/bin/sh\", \"--role=x\"]"));
    // What begins with a slash and is no file may be the secret itself.
    for words in ["\"--secret=/h7Kz+w2Q==\"", "\"--token\", \"/h7Kz/w2Q\"", "\"/h7/token\""] {
        assert!(warned(&format!("[\"/bin/sh\", {words}]")), "{words}");
    }
}
