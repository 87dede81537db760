//! Cases of the original's own tests and of its known defects (sections 10 and 22 of the reference), as they have to
//! come out here.
