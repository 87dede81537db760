//! The contents of scripts that parameters name.

use serde_json::{Value, json};

use super::generic::named;
use super::{Named, View};
use crate::detect;

pub(super) const NAMED: &[Named] = &[
    named("ip_detect_contents", &["ip_detect_filename"], |view| script(view, "ip_detect_filename")),
    named(
        "ip_detect_public_contents",
        &["ip_detect_public_filename", "ip_detect_contents"],
        |view| match view.text("ip_detect_public_filename") {
            "" => Ok(json!(view.text("ip_detect_contents"))),
            _ => script(view, "ip_detect_public_filename"),
        },
    ),
    named("ip6_detect_contents", &["ip6_detect_filename"], |view| match view.text("ip6_detect_filename") {
        "" => Ok(json!("")),
        _ => script(view, "ip6_detect_filename"),
    }),
    named(
        "fault_domain_detect_contents",
        &["fault_domain_enabled", "fault_domain_detect_filename"],
        |view| {
            if view.flag("fault_domain_enabled") {
                script(view, "fault_domain_detect_filename")
            } else {
                Ok(json!(""))
            }
        },
    ),
];

/// The text of the script that a parameter names, as bash understands it.
fn script(view: &View, name: &str) -> Result<Value, String> {
    let path = view.text(name);
    let bytes = detect::load(path, &|path| view.files.read(path))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("`{path}` is not UTF-8"))?;
    view.files.check_script(text.as_bytes()).map_err(|message| format!("`{path}` {message}"))?;
    Ok(json!(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::support::{calculate, fails};

    const SCRIPT: &str = "#!/bin/sh\necho 192.0.2.1\n";

    #[test]
    fn scripts_are_read() {
        let named = json!({"ip_detect_filename": "genconf/ip-detect"});
        assert_eq!(calculate("ip_detect_contents", named), json!(SCRIPT));
        let message = fails("ip_detect_contents", json!({"ip_detect_filename": "genconf/none"}));
        assert_eq!(message, "`genconf/none` does not exist");
        let message = fails("ip_detect_contents", json!({"ip_detect_filename": "genconf/odd"}));
        assert!(message.contains("#!"), "{message}");
        let message = fails("ip_detect_contents", json!({"ip_detect_filename": "genconf/broken"}));
        assert!(message.starts_with("`genconf/broken` is no script that bash understands: "), "{message}");
    }

    #[test]
    fn the_public_address_is_the_other_one_by_default() {
        let name = "ip_detect_public_contents";
        let default = json!({"ip_detect_public_filename": "", "ip_detect_contents": "#!/bin/sh\n"});
        assert_eq!(calculate(name, default), json!("#!/bin/sh\n"));
        let own =
            json!({"ip_detect_public_filename": "genconf/ip-detect", "ip_detect_contents": "#!/bin/sh\n"});
        assert_eq!(calculate(name, own), json!(SCRIPT));
    }

    #[test]
    fn others_are_read_when_they_are_wanted() {
        assert_eq!(calculate("ip6_detect_contents", json!({"ip6_detect_filename": ""})), json!(""));
        let six = json!({"ip6_detect_filename": "genconf/ip-detect"});
        assert_eq!(calculate("ip6_detect_contents", six), json!(SCRIPT));
        let name = "fault_domain_detect_contents";
        let off = json!({"fault_domain_enabled": false, "fault_domain_detect_filename": "genconf/none"});
        assert_eq!(calculate(name, off), json!(""));
        let on = json!({"fault_domain_enabled": true, "fault_domain_detect_filename": "genconf/ip-detect"});
        assert_eq!(calculate(name, on), json!(SCRIPT));
    }
}
