//! Sources onto disk: cached, verified, resumed.
