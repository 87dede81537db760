//! The permissions that publishing needs: no more than the options ask for.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::AmiOptions;

/// The IAM actions of a run with these options.
pub fn actions(options: &AmiOptions) -> BTreeSet<&'static str> {
    let mut actions = BTreeSet::from([
        "ebs:CompleteSnapshot",
        "ebs:PutSnapshotBlock",
        "ebs:StartSnapshot",
        "ec2:CreateTags",
        "ec2:DescribeImages",
        "ec2:DescribeSnapshots",
        "ec2:RegisterImage",
    ]);
    let reads_parent = options.parent.is_some() && options.parent_blocks.is_none();
    if options.verify || reads_parent {
        actions.extend(["ebs:GetSnapshotBlock", "ebs:ListSnapshotBlocks"]);
    }
    if options.regions.len() > 1 {
        actions.extend(["ec2:CopyImage", "ec2:CopySnapshot"]);
    }
    if !options.share.is_empty() {
        actions.extend([
            "ec2:DescribeImageAttribute",
            "ec2:DescribeSnapshotAttribute",
            "ec2:ModifyImageAttribute",
            "ec2:ModifySnapshotAttribute",
        ]);
    }
    if options.deprecate.is_some() {
        actions.insert("ec2:EnableImageDeprecation");
    }
    if options.encryption.is_on {
        actions.extend([
            "kms:CreateGrant",
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:GenerateDataKeyWithoutPlaintext",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
        ]);
    }
    actions
}

/// The policy that allows them and nothing else.
pub fn policy(options: &AmiOptions) -> Value {
    let (own, others): (Vec<_>, Vec<_>) =
        actions(options).into_iter().partition(|action| action.starts_with("ebs:"));
    let (describe, others): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|action| action.starts_with("ec2:Describe"));
    let (kms, change): (Vec<_>, Vec<_>) = others.into_iter().partition(|action| action.starts_with("kms:"));
    // Blocks go into snapshots alone; what only describes has no resource to be limited to (Service Authorization
    // Reference, "Actions, resources, and condition keys for Amazon EC2").
    let mut statements = vec![
        json!({"Sid": "Blocks", "Effect": "Allow", "Action": own, "Resource": "arn:*:ec2:*::snapshot/*"}),
        json!({"Sid": "Look", "Effect": "Allow", "Action": describe, "Resource": "*"}),
        json!({
            "Sid": "Images", "Effect": "Allow", "Action": change,
            "Resource": ["arn:*:ec2:*::image/*", "arn:*:ec2:*::snapshot/*"],
        }),
    ];
    if !kms.is_empty() {
        let keys: Vec<_> = options.encryption.key.iter().chain(options.encryption.keys.values()).collect();
        let all_arns =
            !keys.is_empty() && keys.iter().all(|key| key.starts_with("arn:") && key.contains(":key/"));
        let resource = if all_arns { json!(keys) } else { json!("*") };
        statements.push(json!({"Sid": "Key", "Effect": "Allow", "Action": kms, "Resource": resource}));
    }
    json!({"Version": "2012-10-17", "Statement": statements})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::tests::options;

    #[test]
    fn a_run_may_do_what_its_options_ask_for_and_no_more() {
        let plain = actions(&options());
        assert!(plain.contains("ebs:PutSnapshotBlock") && plain.len() == 7);
        let verified = AmiOptions { verify: true, ..options() };
        assert!(actions(&verified).contains("ebs:GetSnapshotBlock"));
        let parent = AmiOptions { parent: Some("snap-1".into()), ..options() };
        assert!(actions(&parent).contains("ebs:GetSnapshotBlock"));
        let regions = AmiOptions { regions: vec!["eu-west-1".into(), "eu-central-1".into()], ..options() };
        assert!(actions(&regions).contains("ec2:CopyImage"));
        let shared =
            AmiOptions { share: vec!["all".into()], deprecate: Some("2027-01-01".into()), ..options() };
        assert!(
            actions(&shared)
                .is_superset(&BTreeSet::from(["ec2:ModifyImageAttribute", "ec2:EnableImageDeprecation"]))
        );
        let mut encrypted = options();
        encrypted.encryption.is_on = true;
        encrypted.encryption.key = Some("arn:aws:kms:eu-central-1:123456789012:key/1".into());
        let policy = policy(&encrypted);
        let listed: usize = policy["Statement"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["Action"].as_array().unwrap().len())
            .sum();
        assert_eq!(listed, actions(&encrypted).len());
        assert_eq!(policy["Statement"][3]["Resource"][0], "arn:aws:kms:eu-central-1:123456789012:key/1");
    }
}
