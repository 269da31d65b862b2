//! Floor 1: what needs nothing of ours. Clock, numbers, glob, checksums, compression, byte helpers.
