//! How a script travels within another text.

/// The line of an example that stands for the script.
const SCRIPT: &str = "SCRIPT";

/// `text` with the script in the place of its line `SCRIPT`, as far to the right: for blocks that take lines as
/// they are.
pub fn carried(text: &str, script: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        if line.trim() != SCRIPT {
            out.push_str(line);
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        for line in script.lines() {
            if !line.is_empty() {
                out.push_str(indent);
                out.push_str(line);
            }
            out.push('\n');
        }
    }
    out
}

/// A text as a URL that holds it, readable as far as it goes.
pub fn data_url(text: &str) -> String {
    let mut out = String::from("data:,");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A text for a here-document of HCL, where `${` and `%{` begin something. Doubling their first character is no
/// way out when more of them stand before: all together become a string of their own.
pub fn hcl(text: &str) -> String {
    let mut out = String::new();
    let mut signs = String::new();
    for c in text.chars() {
        if matches!(c, '$' | '%') {
            signs.push(c);
            continue;
        }
        match c {
            '{' if !signs.is_empty() => out.push_str(&format!("${{\"{signs}\"}}")),
            _ => out.push_str(&signs),
        }
        signs.clear();
        out.push(c);
    }
    out + &signs
}
