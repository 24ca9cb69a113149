//! Where the parts of a file stand, for diagnostics of steps that see only the meaning.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

use super::tree::{Data, Span, Table};

/// Places by dotted path: `environments.production.tier`. Empty when a pipeline was not read from a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<String, Span>);

impl Places {
    /// Every key of a file down to the keys of its third level, by path.
    pub(crate) fn of(root: &Table) -> Self {
        let mut places = BTreeMap::new();
        fn walk(table: &Table, prefix: &str, levels: u32, out: &mut BTreeMap<String, Span>) {
            for entry in &table.entries {
                let path = if prefix.is_empty() { entry.key.clone() } else { format!("{prefix}.{}", entry.key) };
                if let (Data::Table(inner), true) = (&entry.node.data, levels > 1) {
                    walk(inner, &path, levels - 1, out);
                }
                out.insert(path, entry.key_span.clone());
            }
        }
        walk(root, "", 4, &mut places);
        Self(places)
    }

    /// The place of a path, or of the nearest part above it that has one.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Span> {
        let mut path = path.to_string();
        loop {
            if let Some(span) = self.0.get(&path) {
                return Some(span.clone());
            }
            path.truncate(path.rfind('.')?);
        }
    }
}
