//! Images into clouds, and out of them: AMIs through the EBS direct APIs, downloads of blocks that differ.
