//! ext4, read-write on the host that boots it.
