//! Back to what was, and forward again.

use super::*;

#[test]
fn a_rollback_makes_the_generation_before_current_again() {
    let yard = host();
    yard.done(&["swap", "hello--2"]);
    let (first, second) =
        (listing::list(&yard.home("generations/1")), listing::list(&yard.home("generations/2")));
    let said = yard.done(&["rollback"]);
    assert!(said.starts_with("generation 1 is current\n"), "{said}");
    assert_eq!(yard.link("current"), "generations/1");
    assert_eq!(yard.link("active/hello"), "/opt/mesosphere/packages/hello--1");
    assert_eq!(
        yard.json(&["rollback", "2"]),
        json!({"before": 1, "generation": 2, "changed": true, "notes": []})
    );
    assert_eq!(yard.link("current"), "generations/2");
    assert!(listing::list(&yard.home("generations/1")) == first, "no generation ever changes");
    assert!(listing::list(&yard.home("generations/2")) == second, "no generation ever changes");
    assert_eq!(yard.done(&["rollback", "2"]), "active already: generation 2\n");
}

#[test]
fn a_rollback_never_goes_to_what_was_given_up() {
    let yard = host();
    yard.add(&hello("3"));
    yard.done(&["swap", "hello--2"]);
    yard.done(&["rollback"]);
    // The third takes the place of the first; the second is what nobody wanted.
    yard.done(&["swap", "hello--3"]);
    yard.done(&["rollback"]);
    assert_eq!(yard.link("current"), "generations/1");
    let said = yard.refused(&["rollback"]);
    assert!(said.contains("there is no generation before 1"), "{said}");
}

#[test]
fn generations_are_listed_and_only_those_can_be_gone_to() {
    let yard = host();
    yard.done(&["role", "add", "slave"]);
    yard.done(&["swap", "hello--2"]);
    yard.done(&["rollback"]);
    let list = yard.done(&["generations"]);
    assert_eq!(
        list,
        format!(
            "  1  {CONFIG}  master  3 packages\n* 2  {CONFIG}  master, slave  3 packages\n  3  {CONFIG}  master, slave  3 packages\n"
        )
    );
    assert_eq!(
        yard.json(&["generations"])[1],
        json!({
            "number": 2, "current": true, "config_id": CONFIG, "roles": ["master", "slave"], "packages": 3,
            "overrides": 0, "before": 1,
        })
    );
    for number in ["4", "0", "02", "x", "-1"] {
        let output = yard.run(&["rollback", "--", number]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("no generation `{number}`: expected one of 1, 2, 3")), "{said}");
    }
    std::fs::write(yard.home("generations/1/generation.json"), "{}").unwrap();
    assert!(yard.done(&["generations"]).starts_with("  1  damaged: "));
    let said = yard.refused(&["rollback", "1"]);
    assert!(said.contains("is no record of a generation"), "{said}");
}

#[test]
fn a_rollback_to_damaged_packages_is_refused() {
    let yard = host();
    yard.done(&["swap", "hello--2"]);
    fs::write(yard.home("packages/hello--1/bin/hello"), "damaged").unwrap();
    let said = yard.refused(&["rollback"]);
    assert!(said.contains("`hello--1` is damaged: `bin/hello` is not what it was"), "{said}");
    fs::remove_dir_all(yard.home("packages/hello--1")).unwrap();
    let said = yard.refused(&["rollback"]);
    assert!(said.contains("`hello--1` is not on this host"), "{said}");
    assert_eq!(yard.link("current"), "generations/2");
}
