//! What QEMU's `blklogwrites` wrote down, in the format of dm-log-writes (Linux,
//! admin-guide/device-mapper/log-writes.rst): a super block, then for every write an entry in a sector of its own,
//! followed by the data. All numbers are little-endian.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::support::ground::Numbers;

/// How long sectors are, of the disk and of the log.
pub const SECTOR: usize = 512;
/// "hrswfsj", as bytes.
const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// All that happened to a disk, in order.
pub struct Record {
    log: Vec<u8>,
    pub steps: Vec<Step>,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where on the disk, in bytes.
    pub at: u64,
    /// Where in the log its data is.
    data: usize,
    /// How many bytes; none for a flush alone.
    pub length: usize,
    /// Everything that ended before it is on the disk for good.
    pub flush: bool,
    /// It is on the disk for good itself.
    durable: bool,
}

/// What becomes of the writes that no flush came after.
#[derive(Clone, Copy, Debug)]
pub enum Rest {
    /// None of them got to the disk.
    Lost,
    /// All of them did.
    Kept,
    /// Some did, the rest did not; overlapping ones in any order.
    Mixed,
    /// As `Mixed`, and of those that did only some sectors.
    Torn,
}

impl Record {
    pub fn read(path: &Path) -> Self {
        let log = fs::read(path).unwrap();
        let number = |at: usize| u64::from_le_bytes(log[at..at + 8].try_into().unwrap());
        assert_eq!(number(0), MAGIC, "{} is no record of writes", path.display());
        assert_eq!(u32::from_le_bytes(log[24..28].try_into().unwrap()) as usize, SECTOR);
        let (mut at, mut steps) = (SECTOR, Vec::new());
        for _ in 0..number(16) {
            let [sector, sectors, flags] = [0, 8, 16].map(|field| number(at + field));
            assert_eq!(flags & !(FLUSH | FUA), 0, "neither a write nor a flush; {DISCARD} is a discard");
            let (data, length) = (at + SECTOR, sectors as usize * SECTOR);
            let (flush, durable) = (flags & FLUSH != 0, flags & FUA != 0);
            steps.push(Step { at: sector * SECTOR as u64, data, length, flush, durable });
            at = data + length;
        }
        Self { log, steps }
    }

    pub fn data(&self, step: &Step) -> &[u8] {
        &self.log[step.data..step.data + step.length]
    }

    /// Number of flushes among the first `steps` steps, and where the last of them is.
    pub fn last_flush(&self, steps: usize) -> usize {
        self.steps[..steps].iter().rposition(|step| step.flush).unwrap_or(0)
    }

    /// Writes to `disk` what steps `from..to` wrote.
    pub fn apply(&self, disk: &File, from: usize, to: usize) {
        for step in &self.steps[from..to] {
            disk.write_all_at(self.data(step), step.at).unwrap();
        }
    }

    /// Writes to `disk`, which has all up to the last flush before `to`, a part of what followed.
    pub fn apply_rest(&self, disk: &File, from: usize, to: usize, rest: Rest, numbers: &mut Numbers) {
        let mut steps: Vec<&Step> = self.steps[from..to].iter().filter(|step| step.length > 0).collect();
        if matches!(rest, Rest::Mixed | Rest::Torn) {
            for last in (1..steps.len()).rev() {
                steps.swap(last, numbers.below(last as u64 + 1) as usize);
            }
        }
        // Some cuts lose nearly everything, and some nearly nothing.
        let share = 1 + numbers.below(9);
        for step in steps {
            let kept = match rest {
                Rest::Lost => false,
                Rest::Kept => true,
                Rest::Mixed | Rest::Torn => numbers.below(10) < share,
            };
            if step.durable || kept && (!matches!(rest, Rest::Torn) || is_super_block(step)) {
                disk.write_all_at(self.data(step), step.at).unwrap();
            } else if kept {
                for (number, sector) in self.data(step).chunks(SECTOR).enumerate() {
                    if numbers.below(2) == 1 {
                        disk.write_all_at(sector, step.at + (number * SECTOR) as u64).unwrap();
                    }
                }
            }
        }
    }
}

/// Whether a write has ext4's super block, whose two sectors share a checksum: the file system itself does not
/// survive that it is torn, whoever uses it.
fn is_super_block(step: &Step) -> bool {
    step.at < 2048
}
