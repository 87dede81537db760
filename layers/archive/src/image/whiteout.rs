//! Names with a meaning: what a layer removes from those below it.
//!
//! OCI image specification, "Image Layer Filesystem Changeset", sections "Whiteouts" and "Opaque Whiteout".

use bake_tree::{Member, MemberKind, TreePath};

use crate::ArchiveError;
use crate::error::MemberProblem;

const WHITEOUT: &[u8] = b".wh.";
/// Names that AUFS kept for itself; all but the opaque marker mean nothing in an image.
const RESERVED: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Replaces members by what their names mean.
pub(super) fn interpret(file: &str, members: Vec<Member>) -> Result<Vec<Member>, ArchiveError> {
    let mut problems = Vec::new();
    let mut interpreted = Vec::with_capacity(members.len());
    for member in members {
        match one(&member.path) {
            Ok(Meaning::Itself) => interpreted.push(member),
            Ok(Meaning::Nothing) => {}
            Ok(Meaning::Removal(path, kind)) => interpreted.push(Member { path, kind, ..member }),
            Err(reason) => problems.push(MemberProblem::new(member.path.as_bytes(), 0, reason)),
        }
    }
    if problems.is_empty() {
        Ok(interpreted)
    } else {
        Err(ArchiveError::Members { file: file.to_owned(), problems })
    }
}

enum Meaning {
    Itself,
    Nothing,
    Removal(TreePath, MemberKind),
}

fn one(path: &TreePath) -> Result<Meaning, String> {
    let Some((parent, name)) = path.split() else { return Ok(Meaning::Itself) };
    if !path.components().any(|component| component.starts_with(WHITEOUT)) {
        return Ok(Meaning::Itself);
    }
    if parent.components().any(|component| component.starts_with(RESERVED)) {
        return Ok(Meaning::Nothing);
    }
    if parent.components().any(|component| component.starts_with(WHITEOUT)) {
        return Err("lies in a whiteout: expected that to be an empty file".to_owned());
    }
    if name == OPAQUE {
        return Ok(Meaning::Removal(parent, MemberKind::Opaque));
    }
    if name.starts_with(RESERVED) {
        return Ok(Meaning::Nothing);
    }
    match &name[WHITEOUT.len()..] {
        // What is left has to be a name, or it would remove the directory itself, or the one above.
        b"" | b"." | b".." => Err("is a whiteout of nothing: expected a name after `.wh.`".to_owned()),
        name => Ok(Meaning::Removal(parent.join(name), MemberKind::Whiteout)),
    }
}

#[cfg(test)]
mod tests {
    use bake_tree::Metadata;

    use super::*;

    fn interpreted(name: &str) -> Result<Option<String>, String> {
        let path = TreePath::parse(name.as_bytes()).unwrap();
        let member = Member { path, metadata: Metadata::root(0o644), kind: MemberKind::Fifo };
        let members = interpret("image", vec![member]).map_err(|error| error.to_string())?;
        Ok(members.first().map(|member| format!("{:?} {}", member.kind, member.path)))
    }

    #[test]
    fn names_are_interpreted() {
        for (name, meaning) in [
            ("a/wh", Some("Fifo /a/wh")),
            ("a/.wh.b", Some("Whiteout /a/b")),
            (".wh.b", Some("Whiteout /b")),
            ("a/.wh..b", Some("Whiteout /a/.b")),
            ("a/.wh....", Some("Whiteout /a/...")),
            ("a/.wh..wh..opq", Some("Opaque /a")),
            (".wh..wh..opq", Some("Opaque /")),
            (".wh..wh.aufs", None),
            (".wh..wh.plnk", None),
            (".wh..wh.plnk/123.456", None),
        ] {
            assert_eq!(interpreted(name).unwrap().as_deref(), meaning, "{name}");
        }
    }

    #[test]
    fn whiteouts_that_would_leave_their_directory_are_refused() {
        for name in ["a/.wh.", "a/.wh..", "a/.wh...", ".wh.a/b"] {
            let error = interpreted(name).unwrap_err();
            assert!(error.contains("`image`: member `") && error.contains("whiteout"), "{error}");
        }
    }
}
