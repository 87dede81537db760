//! Random trees: written, judged, and read back the same.

use proptest::prelude::*;

use super::support::{judge, options};
use crate::common::generated::{step, tree};

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ext4_generated_trees(steps in prop::collection::vec(step(), 0..150), more in 0_u64..100_000, seed in any::<bool>(), old in prop::bool::weighted(0.2)) {
        let tree = tree(&steps, old);
        let options = bake_fs::ext4::Options { metadata_csum_seed: seed, ..options() };
        let minimum = bake_fs::ext4::plan(&tree, &options).unwrap().minimum_size();
        judge(&tree, &options, minimum + more * 4096);
    }
}
