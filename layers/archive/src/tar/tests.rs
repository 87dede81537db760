//! (see tests/)
