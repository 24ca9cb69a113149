//! Files that somebody else wrote, read within a limit (S13.2). What must not live here: what they mean.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The first `limit` bytes of a file and one more where it is larger, so that whoever judges the size sees that it is too
/// large, and no memory is spent on how much.
///
/// # Errors
/// When it cannot be read, or is no regular file: opening a pipe that nobody writes to would wait for ever, and a device has
/// no end.
pub(crate) fn at_most(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    regular(path)?;
    let mut bytes = Vec::new();
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same as text.
pub(crate) fn text_at_most(path: &Path, limit: usize) -> io::Result<String> {
    let bytes = at_most(path, limit)?;
    if bytes.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, format!("it is not UTF-8, from byte {at} on"))
    })
}

/// Refuses what is there and is no regular file.
pub(crate) fn regular(path: &Path) -> io::Result<()> {
    let kind = std::fs::metadata(path)?.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory")),
        () => "it is a pipe, a socket or a device, and no file",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

#[cfg(test)]
mod tests {
    use super::{at_most, text_at_most};

    #[test]
    fn no_more_is_read_than_shows_that_it_is_too_much() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        for (length, read) in [(0, 0), (9, 9), (10, 10), (11, 11), (5000, 11)] {
            std::fs::write(&file, vec![b'x'; length]).unwrap();
            assert_eq!(at_most(&file, 10).unwrap().len(), read, "{length}");
            assert_eq!(text_at_most(&file, 10).is_ok(), length <= 10, "{length}");
        }
    }
}
