//! POSIX access control lists: from the form in which archives and system calls carry them (version 2, eight
//! bytes an entry) to the form on an ext4 disk (version 1, ids only where there is one; kernel
//! `fs/ext4/acl.h`, `include/uapi/linux/posix_acl_xattr.h`).

const CARRIED_VERSION: u32 = 2;
const STORED_VERSION: u32 = 1;
const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;

/// The stored form of a carried list; nothing for a list without entries, which to the kernel is no list.
///
/// # Errors
/// What keeps the kernel from taking it (`posix_acl_valid`).
pub(crate) fn stored(carried: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let (version, entries) =
        carried.split_first_chunk::<4>().ok_or("has an access control list without a version")?;
    let version = u32::from_le_bytes(*version);
    let (entries, rest) = entries.as_chunks::<8>();
    if version != CARRIED_VERSION || !rest.is_empty() {
        return Err(format!(
            "has an access control list of version {version} and {} bytes: expected version 2 and whole entries",
            carried.len()
        ));
    }
    let mut entries: Vec<(u16, u32, u16)> = entries
        .iter()
        .map(|[tag, tag_high, access, access_high, id @ ..]| {
            let id = u32::from_le_bytes(*id);
            (u16::from_le_bytes([*tag, *tag_high]), id, u16::from_le_bytes([*access, *access_high]))
        })
        .collect();
    // The kernel reads a list in this order and stops at the first match.
    entries.sort_unstable();
    check(&entries)?;
    if entries.is_empty() {
        return Ok(None);
    }
    let mut bytes = STORED_VERSION.to_le_bytes().to_vec();
    for (tag, id, access) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(access.to_le_bytes());
        if has_id(tag) {
            bytes.extend(id.to_le_bytes());
        }
    }
    Ok(Some(bytes))
}

/// The carried form of a stored list.
///
/// # Errors
/// When the bytes are no such list.
pub(crate) fn carried(stored: &[u8]) -> Result<Vec<u8>, &'static str> {
    const NO_ID: [u8; 4] = [0xff; 4];
    let wrong = "has an access control list that is none";
    let (version, mut rest) = stored.split_first_chunk::<4>().ok_or(wrong)?;
    if u32::from_le_bytes(*version) != STORED_VERSION {
        return Err(wrong);
    }
    let mut bytes = CARRIED_VERSION.to_le_bytes().to_vec();
    while !rest.is_empty() {
        let (entry, after) = rest.split_first_chunk::<4>().ok_or(wrong)?;
        rest = after;
        bytes.extend(entry);
        if has_id(u16::from_le_bytes([entry[0], entry[1]])) {
            let (id, after) = rest.split_first_chunk::<4>().ok_or(wrong)?;
            rest = after;
            bytes.extend(id);
        } else {
            bytes.extend(NO_ID);
        }
    }
    Ok(bytes)
}

/// A carried list as the kernel reads it: sorted, checked, nothing where there are no entries. Some file systems
/// keep lists in this form.
///
/// # Errors
/// As [`stored`].
pub(crate) fn normal(list: &[u8]) -> Result<Option<Vec<u8>>, String> {
    Ok(stored(list)?.map(|list| carried(&list)).transpose()?)
}

fn has_id(tag: u16) -> bool {
    matches!(tag, USER | GROUP)
}

fn check(entries: &[(u16, u32, u16)]) -> Result<(), String> {
    let count = |tag: u16| entries.iter().filter(|entry| entry.0 == tag).count();
    let known = [OWNER, USER, OWNING_GROUP, GROUP, MASK, OTHERS];
    if let Some((tag, _, access)) =
        entries.iter().find(|(tag, _, access)| !known.contains(tag) || *access > 7)
    {
        return Err(format!("has an access control entry of tag {tag:#x} with access {access:o}"));
    }
    let named = entries.iter().any(|entry| has_id(entry.0));
    let mask = count(MASK);
    let single = [OWNER, OWNING_GROUP, OTHERS].iter().all(|tag| count(*tag) == 1);
    if !entries.is_empty() && (!single || mask > 1 || (named && mask == 0)) {
        return Err("has an access control list without exactly one entry for owner, group and others, \
                    and a mask where users or groups are named"
            .to_owned());
    }
    if let Some(pair) =
        entries.windows(2).find(|pair| has_id(pair[0].0) && pair[0].0 == pair[1].0 && pair[0].1 == pair[1].1)
    {
        return Err(format!("has an access control list that names id {} twice", pair[0].1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, access, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(access.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    const NO_ID: u32 = u32::MAX;

    #[test]
    fn a_list_is_sorted_and_loses_the_ids_that_mean_nothing() {
        let list = carried(&[
            (OTHERS, 4, NO_ID),
            (USER, 7, 70_000),
            (OWNER, 6, NO_ID),
            (USER, 5, 5),
            (MASK, 7, NO_ID),
            (OWNING_GROUP, 4, NO_ID),
        ]);
        let expected = [
            &[1, 0, 0, 0][..],
            &[1, 0, 6, 0],
            &[2, 0, 5, 0, 5, 0, 0, 0],
            &[2, 0, 7, 0, 0x70, 0x11, 1, 0],
            &[4, 0, 4, 0],
            &[0x10, 0, 7, 0],
            &[0x20, 0, 4, 0],
        ];
        assert_eq!(stored(&list).unwrap().unwrap(), expected.concat());
        let sorted = super::carried(&expected.concat()).unwrap();
        assert_eq!(stored(&sorted).unwrap().unwrap(), expected.concat());
        assert_eq!(normal(&list).unwrap().unwrap(), sorted);
        assert_eq!(normal(&carried(&[])).unwrap(), None);
        assert_eq!(stored(&carried(&[])).unwrap(), None);
    }

    #[test]
    fn lists_that_the_kernel_refuses_are_refused() {
        let base = [(OWNER, 6, NO_ID), (OWNING_GROUP, 4, NO_ID), (OTHERS, 4, NO_ID)];
        assert!(stored(&carried(&base)).is_ok());
        let with = |more: &[(u16, u16, u32)]| stored(&carried(&[&base, more].concat()));
        assert!(with(&[(USER, 7, 1)]).is_err());
        assert!(with(&[(USER, 7, 1), (USER, 6, 1), (MASK, 7, NO_ID)]).is_err());
        assert!(with(&[(OTHERS, 7, NO_ID)]).is_err());
        assert!(with(&[(0x40, 7, NO_ID)]).is_err());
        assert!(with(&[(MASK, 8, NO_ID)]).is_err());
        assert!(stored(&carried(&base[1..])).is_err());
        for broken in [&[][..], &[2, 0, 0], &[1, 0, 0, 0], &[2, 0, 0, 0, 1]] {
            assert!(stored(broken).is_err(), "{broken:?}");
        }
        for broken in [&[][..], &[1, 0, 0], &[2, 0, 0, 0], &[1, 0, 0, 0, 1], &[1, 0, 0, 0, 2, 0, 7, 0]] {
            assert!(super::carried(broken).is_err(), "{broken:?}");
        }
    }
}
