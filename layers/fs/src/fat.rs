//! FAT32, for the EFI system partition.
