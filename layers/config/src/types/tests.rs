use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Place, yaml};

fn integer(min: i64, max: i64) -> Type {
    Type::Integer { min, max, except: vec![] }
}

fn list(of: Type, distinct: bool, lengths: &[usize]) -> Type {
    Type::List { of: Box::new(of), distinct, lengths: lengths.to_vec() }
}

/// What is said of a value, problems on lines of their own.
fn said(kind: &Type, text: &str) -> String {
    let node = yaml::read("c", format!("p: {text}\n").as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let Kind::Map(entries) = node.kind else { panic!("{text}") };
    match kind.check("p", &entries[0].1) {
        Ok(value) => value.to_string(),
        Err(problems) => {
            problems.iter().map(|problem| format!("{problem}\n")).collect::<String>().trim_end().into()
        }
    }
}

fn of_form(form: Form, text: &str) -> String {
    let node = Node { place: Place::file("c"), kind: Kind::Text(text.into()) };
    match Type::Text(form).check("p", &node) {
        Ok(value) => value.as_str().unwrap_or_default().into(),
        Err(problems) => format!("! {}", problems[0].message),
    }
}

#[test]
fn booleans_and_numbers_say_what_they_expect() {
    assert_eq!(said(&Type::Boolean, "true"), "true");
    assert_eq!(said(&Type::Boolean, "\"false\""), "false");
    assert_eq!(said(&Type::Boolean, "\"True\""), "c:1:4: `p`: is `True`, expected `true` or `false`");
    assert_eq!(said(&Type::Boolean, "1"), "c:1:4: `p`: is `1`, expected `true` or `false`");
    assert_eq!(
        said(&Type::Boolean, ""),
        "c:1:2: `p`: has no value, expected `true` or `false`; leave it out to have its default"
    );
    let port = integer(1, 65535);
    assert_eq!(said(&port, "'5050'"), "5050");
    for wrong in ["0", "65536", "'05'", "'5050 '", "1.5", "[1]", "'+5'", "'-0'"] {
        assert!(said(&port, wrong).ends_with(", expected a port, 1 to 65535"), "{wrong}");
    }
    assert_eq!(said(&integer(552, i64::MAX), "1"), "c:1:4: `p`: is `1`, expected a whole number from 552");
    let reserved = Type::Integer { min: 1, max: 9, except: vec![4] };
    assert_eq!(
        said(&reserved, "4"),
        "c:1:4: `p`: is `4`, which is reserved; expected a whole number from 1 to 9 but not 4"
    );
    assert_eq!(said(&Type::Number(vec![1, 3]), "2"), "c:1:4: `p`: is `2`, expected `1` or `3`");
}

#[test]
fn choices_know_the_nearest_spelling() {
    let kind = Type::Choice(vec!["static".into(), "load-balancer".into()]);
    assert_eq!(
        said(&kind, "statc"),
        "c:1:4: `p`: is `statc`, expected `static` or `load-balancer`; did you mean `static`?"
    );
    assert_eq!(said(&kind, "other"), "c:1:4: `p`: is `other`, expected `static` or `load-balancer`");
}

#[test]
fn lists_name_the_place_within() {
    let kind = list(Type::Text(Form::Ipv4), true, &[1, 3]);
    assert_eq!(said(&kind, "'[\"192.0.2.1\"]'"), r#"["192.0.2.1"]"#);
    assert_eq!(
        said(&kind, "[192.0.2.1, 192.0.2.1, x, 4]"),
        "c:1:16: `p[1]`: is `192.0.2.1` again, expected distinct values\n\
         c:1:27: `p[2]`: is `x`, expected an IPv4 address such as `192.0.2.1`\n\
         c:1:30: `p[3]`: is `4`, expected an IPv4 address such as `192.0.2.1`\n\
         c:1:4: `p`: has 4 values, expected a list of 1 or 3 distinct values, each an IPv4 address such as `192.0.2.1`"
    );
    assert!(said(&list(Type::Boolean, false, &[]), "'[true'").contains("is a text that is not JSON ("));
    assert_eq!(
        said(&list(Type::Boolean, false, &[]), "true"),
        "c:1:4: `p`: is `true`, expected a list of values, each `true` or `false`"
    );
}

#[test]
fn json_in_a_text_is_held_to_the_same() {
    assert!(said(&Type::Object, r#"'{"a": 1, "a": 2}'"#).contains("key `a` twice"));
    assert_eq!(said(&Type::Object, r#"'{"b": [null, 1.5], "a": "\u00e9"}'"#), r#"{"a":"é","b":[null,1.5]}"#);
    let deep = format!("'{}'", "[".repeat(500));
    assert!(said(&Type::Object, &deep).contains("recursion limit exceeded"));
}

#[test]
fn nothing_and_the_empty_text_are_said_to_be_allowed() {
    let port = Type::OrEmpty(Box::new(integer(1, 65535)));
    assert_eq!(said(&port, "''"), r#""""#);
    assert_eq!(said(&port, "0"), "c:1:4: `p`: is `0`, expected a port, 1 to 65535, or the empty text");
    let line = Type::OrNull(Box::new(Type::Text(Form::Line)));
    assert_eq!(said(&line, "'\"Hello\"'"), r#""Hello""#);
    assert_eq!(said(&line, "~"), "null");
    assert!(said(&line, r#"'"null"'"#).contains("is JSON in JSON"));
}

#[test]
fn texts_are_of_their_forms() {
    for (form, good, bad) in [
        (Form::Word, "two words", " a"),
        (Form::Lines, "a\n\tb", "a\u{1b}b"),
        (Form::Url, "https://h.example:8080/a@b?b#c", "https://h.example:0/"),
        (Form::Url, "http://[2001:db8::1]:80/", "http://h.example/$(id) "),
        (Form::HttpsUrl, "https://a", "http://a"),
        (Form::BaseUrl, "file:///a", "file://a"),
        (Form::BaseUrl, "http://a/b", "http://a/b?c"),
        (Form::AbsolutePath, "/a b/c", "/a//b"),
        (Form::RelativePath, "a/b", "a/../b"),
        (Form::FileName, "a.json", ".."),
        (Form::File, "ready:interface/eth0.1", "ready:interface/a/b"),
        (Form::KeyPrefix, "a", "a/"),
        (Form::Ipv4, "192.0.2.1", "192.0.2.01"),
        (Form::Ipv6, "fd01:c::", "fd01:c:::"),
        (Form::Ipv4Network, "0.0.0.0/0", "192.0.2.0/33"),
        (Form::Ipv6Network, "fd01:b::/64", "fd01:b::1/64"),
        (Form::Server, "192.0.2.1:53", "192.0.2.1:"),
        (Form::Resolver, "198.51.100.4", "198.51.100.3:53"),
        (Form::DnsSearch, "a.b c", "a,b"),
        (Form::Duration, "1.5hrs", "1.hrs"),
        (Form::Size, "64MB", "1.5MB"),
        (Form::Colour, "#FFF", "#GGG"),
        (Form::FrameOptions, "DENY", "ALLOW-FROM x"),
        (Form::ZooKeeperHosts, "a:1,[::1]:2", "a"),
        (Form::ZooKeeperPath, "/a/b", "/"),
        (Form::Weights, "a=1,b/c=0.5", "a=0"),
        (Form::ProxyException, ".example.com", "a b"),
        (Form::Module, "dm_raid", "../x"),
        (Form::Command, "systemd-notify", "a/b"),
    ] {
        assert_eq!(of_form(form, good), good, "{form:?}");
        let said = of_form(form, bad);
        assert!(said.starts_with("! ") && said.ends_with(form.expected()), "{form:?}: {said}");
    }
    for proxy in ["http://h.example:3128", "h.example:3128", "socks5://[::1]:1080/", "two words", ""] {
        assert_eq!(of_form(Form::Proxy, proxy), proxy);
    }
    assert_eq!(of_form(Form::Ipv6, "FD01:C:0::0"), "fd01:c::");
    assert_eq!(
        of_form(Form::Ipv4Network, "9.0.0.1/8"),
        "! has host bits; the network is `9.0.0.0/8`; expected an IPv4 network such as `192.0.2.0/24`"
    );
    assert_eq!(of_form(Form::FrameOptions, "allow-from https://a"), "ALLOW-FROM https://a");
}

#[test]
fn every_form_and_document_has_its_name() {
    for (form, name, _) in form::FORMS {
        assert_eq!(Form::named(name), Some(*form));
    }
    for (document, name, _) in document::DOCUMENTS {
        assert_eq!(Document::named(name), Some(*document));
    }
}

#[test]
fn overlays_are_checked_within() {
    let kind = Type::Document(Document::Overlay);
    let text = r#"{vtep_subnet: 44.128.0.1/20, vtep_mac_oui: x, overlays: [{name: fourteen-chars, subnet: 9.0.0.0/8},
 {name: a, subnet6: "fd01:b::/64", prefix6: 48}, {name: b, subnett: 1}]}"#;
    let said = said(&kind, text);
    for part in [
        "`p`: lacks `vtep_subnet6`: an IPv6 network",
        "`p.vtep_subnet`: has host bits; the network is `44.128.0.0/20`",
        "`p.vtep_mac_oui`: is not a MAC prefix",
        "`p.overlays[0]`: has the name `fourteen-chars`, expected at most 13",
        "`p.overlays[0]`: has `subnet` without `prefix`",
        "`p.overlays[1]`: has `prefix6` 48, which is larger than `subnet6` fd01:b::/64",
        "`p.overlays[2].subnett`: is not known here; did you mean `subnet`?",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn checks_and_their_lists_agree() {
    let kind = Type::Document(Document::Checks);
    assert!(said(&kind, "{other: 1}").contains("`p.other`: is not known here"));
    let said =
        said(&kind, "{node_checks: {checks: {a: {description: x, cmd: [], timeout: 1s}}, poststart: [b]}}");
    for part in [
        "`p.node_checks.checks.a`: is in neither `prestart` nor `poststart`",
        "`p.node_checks.checks.a`: has an empty `cmd`",
        "`p.node_checks.poststart[0]`: is `b`, expected the name of one of `checks`",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn published_urls_hold_no_passwords() {
    use Form::{BaseUrl, FrameOptions, HttpsBaseUrl, HttpsUrl, Proxy, Url};
    for form in [Url, HttpsUrl, BaseUrl, HttpsBaseUrl, Proxy, FrameOptions] {
        let before = if form == FrameOptions { "ALLOW-FROM " } else { "" };
        for url in ["https://user:hunter2@h.example", "https://hunter2@h.example:80/a"] {
            let said = of_form(form, &format!("{before}{url}"));
            assert!(said.contains("published would hold it; remove it"), "{form:?}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
    for proxy in ["user:hunter2@h.example:3128", "http://user:hun/ter2@h.example"] {
        let said = of_form(Proxy, proxy);
        assert!(said.contains("a password before `@`") && !said.contains("ter2"), "{said}");
    }
}

#[test]
fn kernel_settings_and_zones_have_names() {
    let kind = Type::Document(Document::Sysctls);
    assert_eq!(said(&kind, "{vm.max_map_count: 262144}"), r#"{"vm.max_map_count":"262144"}"#);
    assert!(said(&kind, "{../x: 1}").contains("is not the name of a kernel setting"));
    assert!(
        said(&Type::Document(Document::ForwardZones), "{'a b': []}").contains("is not the name of a zone")
    );
}

proptest! {
    #[test]
    fn any_text_gives_a_value_or_a_message(text in any::<String>()) {
        let node = Node { place: Place::file("c"), kind: Kind::Text(text) };
        for (form, ..) in form::FORMS {
            let kind = Type::Text(*form);
            if let Ok(value) = kind.check("p", &node) {
                // The one form is the one form of itself, and one line unless it says otherwise.
                let again = Node::from_json(&value, &node.place);
                prop_assert_eq!(kind.check("p", &again), Ok(value.clone()));
                let lines = matches!(form, Form::Lines | Form::RsaPublicKey);
                prop_assert!(lines || !value.as_str().unwrap_or_default().contains(char::is_control));
            }
        }
        for (document, ..) in document::DOCUMENTS {
            let _ = Type::Document(*document).check("p", &node);
        }
    }

    #[test]
    fn a_value_written_as_yaml_reads_back(text in "[ -~äß€]{0,20}", number in any::<i64>(), flag in any::<bool>()) {
        let value = json!({"text": text, "list": [number, flag, text], "map": {"a": number}});
        let node = yaml::scalar(&value.to_string(), &Place::file("c")).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(Type::Object.check("p", &node), Ok(value));
    }
}
