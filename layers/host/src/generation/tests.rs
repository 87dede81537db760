use super::*;

fn generation() -> Generation {
    let roles = BTreeSet::from(["master".parse().unwrap()]);
    let mut generation = Generation::new(&InstallRoot::default(), &roles, &BTreeSet::new(), |_| None);
    generation.active.insert("hello--1".parse().unwrap(), Some(Digest::of(b"a list")));
    generation
}

#[test]
fn numbers_are_decimal_and_begin_with_one() {
    for (name, number) in [("1", 1), ("10", 10), ("4294967295", u32::MAX)] {
        assert_eq!(Number::parse(name.as_bytes()), Some(Number(number)));
        assert_eq!(Number(number).to_string(), name);
    }
    for wrong in ["", "0", "01", "+1", "-1", "1 ", "x", "4294967296", "\u{663}"] {
        assert_eq!(Number::parse(wrong.as_bytes()), None, "{wrong}");
    }
    assert_eq!(Number::FIRST.next(), Some(Number(2)));
    assert_eq!(Number(u32::MAX).next(), None);
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let mut generation = generation();
    let text = String::from_utf8(generation.to_json()).unwrap();
    // Records of programs that wrote no more are still read.
    for absent in ["before", "overrides", "removing", "product"] {
        assert!(!text.contains(absent), "{text}");
    }
    assert_eq!(Generation::parse(text.as_bytes()).unwrap(), generation);
    generation.before = Some(Number(7));
    generation.removing = true;
    generation.product = Some(Digest::of(b"a document"));
    crate::overrides::insert(&mut generation.overrides, "local", &"hello--1".parse().unwrap(), "bin/hello");
    assert_eq!(Generation::parse(&generation.to_json()).unwrap(), generation);
}

#[test]
fn a_record_that_nobody_understands_is_refused() {
    let text = String::from_utf8(generation().to_json()).unwrap();
    for (wrong, said) in [
        (text.replace("bake-generation-1", "bake-generation-2"), "has the schema `bake-generation-2`"),
        (text.replace("\"seen\"", "\"saw\""), "is no record of a generation"),
        (text[..text.len() / 2].to_owned(), "is no record of a generation"),
        (String::new(), "is no record of a generation"),
    ] {
        let error = Generation::parse(wrong.as_bytes()).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn one_link_stands_for_all() {
    let target = |entry: Option<&Entry>| match entry {
        Some(Entry::Symlink(target)) => String::from_utf8(target.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    for has_product in [true, false] {
        let links = top_links(Number(3), has_product);
        assert_eq!(target(links.get(&place(CURRENT))), "generations/3");
        assert_eq!(links.contains_key(&place(PRODUCT)), has_product);
        // All others stay as they are when the number changes.
        let others = |number| {
            let mut links = top_links(Number(number), has_product);
            links.remove(&place(CURRENT));
            links
        };
        assert_eq!(others(3), others(4));
        assert_eq!(target(links.get(&place("bin"))), "current/bin");
    }
}
