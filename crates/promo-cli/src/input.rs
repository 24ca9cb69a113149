//! Files that somebody else wrote, read within a limit (S13.2). What must not live here: what they mean.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The first `limit` bytes of a file and one more where it is larger, so that whoever judges the size sees that it is too
/// large, and no memory is spent on how much.
pub(crate) fn at_most(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::at_most;

    #[test]
    fn no_more_is_read_than_shows_that_it_is_too_much() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        for (length, read) in [(0, 0), (9, 9), (10, 10), (11, 11), (5000, 11)] {
            std::fs::write(&file, vec![b'x'; length]).unwrap();
            assert_eq!(at_most(&file, 10).unwrap().len(), read, "{length}");
        }
    }
}
