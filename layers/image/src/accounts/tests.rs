use super::*;

fn path(text: &str) -> TreePath {
    TreePath::from_root(text.as_bytes()).unwrap()
}

fn tree() -> Tree {
    let mut tree = Tree::new();
    for (name, text) in [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nodd:x\nold:x:999:50::/:/bin/sh\n"),
        ("etc/shadow", "root:*:1::::::\nold:*:1::::::\n"),
        ("etc/group", "root:x:0:\nstaff:x:50:\ndocker:x:998:old\n"),
        ("etc/gshadow", "root:*::\nstaff:*::\ndocker:!::old\n"),
    ] {
        tree.write(&path(name), Metadata::root(0o644), Content::bytes(text.as_bytes())).unwrap();
    }
    tree
}

fn user(name: &str) -> NewUser<'_> {
    let (comment, home, shell) = ("DCOS System User", "/opt/mesosphere", "/sbin/nologin");
    NewUser { name, uid: None, group: None, comment, home, shell, password_hash: None }
}

fn last_line(tree: &Tree, name: &str) -> String {
    let text = String::from_utf8(tree.read(&path(name), 9999).unwrap().unwrap()).unwrap();
    text.lines().last().unwrap().to_owned()
}

#[test]
fn a_system_user_takes_the_highest_id_that_is_free_for_user_and_group() {
    let mut tree = tree();
    let mut accounts = Accounts::read(&tree, Epoch::from_seconds(86_400 * 20_000)).unwrap();
    assert_eq!(accounts.add_user(&user("dcos_a")).unwrap(), (997, 997));
    assert_eq!(accounts.add_user(&user("dcos_a")).unwrap(), (997, 997), "a second time changes nothing");
    accounts.add_member("docker", "dcos_a").unwrap();
    accounts.write(&mut tree).unwrap();
    assert_eq!(
        last_line(&tree, "etc/passwd"),
        "dcos_a:x:997:997:DCOS System User:/opt/mesosphere:/sbin/nologin"
    );
    assert_eq!(last_line(&tree, "etc/shadow"), "dcos_a:!:20000::::::");
    assert_eq!(last_line(&tree, "etc/group"), "dcos_a:x:997:");
    assert_eq!(last_line(&tree, "etc/gshadow"), "dcos_a:!::");
    let group = String::from_utf8(tree.read(&path("etc/group"), 999).unwrap().unwrap()).unwrap();
    assert!(group.contains("docker:x:998:old,dcos_a\n"));
}

#[test]
fn what_contradicts_the_root_file_system_is_refused() {
    let tree = tree();
    let mut accounts = Accounts::read(&tree, Epoch::from_seconds(0)).unwrap();
    for (new, reason) in [
        (NewUser { uid: Some(5), ..user("old") }, "has id 999"),
        (NewUser { uid: Some(999), ..user("new") }, "taken"),
        (NewUser { group: Some("none"), ..user("new") }, "does not exist"),
        (NewUser { group: Some("root"), ..user("old") }, "not in group"),
        (NewUser { home: "/a:b", ..user("new") }, "`home` holds a colon"),
        (NewUser { home: "a", ..user("new") }, "`home` is no absolute path"),
        (NewUser { shell: "sh", ..user("old") }, "`shell` is no absolute path"),
        (NewUser { shell: "/x\nroot::0:0::/:/x", ..user("old") }, "`shell` holds"),
        (NewUser { password_hash: Some("$y$x:0"), ..user("old") }, "`password-hash` holds a colon"),
        (NewUser { password_hash: Some("x\nroot:"), ..user("new") }, "`password-hash` holds a colon"),
        (NewUser { password_hash: Some("x y"), ..user("new") }, "`password-hash` holds white space"),
        (NewUser { password_hash: Some(""), ..user("old") }, "`password-hash` is empty"),
        (NewUser { uid: Some(u32::MAX), ..user("new") }, "4294967295, which means no id"),
        (user("odd"), "cannot be read"),
        (user("Bad:name"), "no user or group name"),
    ] {
        let message = accounts.add_user(&new).unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
    accounts.add_user(&NewUser { group: Some("docker"), ..user("old") }).unwrap();
}

#[test]
fn an_existing_user_keeps_home_and_shell() {
    let accounts = Accounts::read(&tree(), Epoch::from_seconds(0)).unwrap();
    accounts.check_places("new", Some("/home/new"), Some("/bin/zsh")).unwrap();
    accounts.check_places("root", Some("/root"), Some("/bin/bash")).unwrap();
    accounts.check_places("root", None, None).unwrap();
    let message = accounts.check_places("root", None, Some("/bin/zsh")).unwrap_err().to_string();
    assert!(message.contains("shell `/bin/bash`") && message.contains("not `/bin/zsh`"), "{message}");
    let message = accounts.check_places("old", Some("/srv"), None).unwrap_err().to_string();
    assert!(message.contains("home `/`") && message.contains("not `/srv`"), "{message}");
}

#[test]
fn a_password_is_set_and_dated_by_the_epoch() {
    let mut tree = tree();
    let mut accounts = Accounts::read(&tree, Epoch::from_seconds(86_400)).unwrap();
    accounts.add_user(&NewUser { password_hash: Some("$y$x"), ..user("old") }).unwrap();
    accounts.write(&mut tree).unwrap();
    assert_eq!(last_line(&tree, "etc/shadow"), "old:$y$x:1::::::");
}
