//! Directories for what a tool is given: values and sources among which secrets may be, read by nobody but this user.

use std::io;

use tempfile::{Builder, TempDir};

/// A new one, which goes away with the value.
///
/// # Errors
/// When none can be made.
pub(crate) fn directory(prefix: &str) -> io::Result<TempDir> {
    let mut builder = Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o700));
    }
    builder.tempdir()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn s13_4_nobody_else_reads_what_a_tool_is_given() {
        let directory = super::directory("promo-test-").unwrap();
        let mode = directory.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{mode:o}");
    }
}
