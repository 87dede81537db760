//! Canonical JSON: keys sorted, two spaces, one final newline; the same value gives the same bytes.

use serde::Serialize;

/// Renders `value` canonically.
///
/// # Errors
/// When `value` has a map whose keys are no strings, or a number that JSON cannot hold.
pub fn to_canonical(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    // Through `Value`, whose maps are sorted by key, so that field order in a struct is no part of the format.
    let mut bytes = serde_json::to_vec_pretty(&serde_json::to_value(value)?)?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_are_sorted_whatever_the_order_of_fields() {
        #[derive(serde::Serialize)]
        struct Document {
            zebra: u8,
            ant: Vec<u8>,
        }
        let bytes = super::to_canonical(&Document { zebra: 1, ant: vec![2] }).unwrap();
        assert_eq!(bytes, b"{\n  \"ant\": [\n    2\n  ],\n  \"zebra\": 1\n}\n");
    }
}
