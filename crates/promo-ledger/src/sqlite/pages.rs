//! What SQLite itself finds wrong with its file: pages, free pages, indexes, constraints. No row needs to show it. What must
//! not live here: what the rows say.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::{Result, sql};

/// What every list of damaged pages begins with: <https://www.sqlite.org/pragma.html#pragma_integrity_check>.
const HEADING: &str = "*** in database main ***";

/// At most `limit` findings, each of which names its page, or the table or index that it is about.
pub(super) fn damage(connection: &Connection, limit: usize) -> Result<Vec<String>> {
    let failed = || sql("checking the pages");
    let select = "SELECT rootpage, tbl_name FROM sqlite_schema WHERE rootpage > 0";
    let mut statement = connection.prepare(select).map_err(failed())?;
    let trees = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed())?;
    let trees: BTreeMap<u32, String> = trees.collect::<rusqlite::Result<_>>().map_err(failed())?;
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({limit})")).map_err(failed())?;
    let mut found = Vec::new();
    for row in statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed())? {
        match row {
            Ok(text) => {
                let lines = text.lines().filter(|line| *line != HEADING && *line != "ok");
                found.extend(lines.map(|line| with_table(line, &trees)));
            }
            // It gives up behind a page that it has named.
            Err(_) if !found.is_empty() => break,
            Err(error) => return Err(failed()(error)),
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// SQLite names a tree by the page of its root.
fn with_table(line: &str, trees: &BTreeMap<u32, String>) -> String {
    let root = line.strip_prefix("Tree ").and_then(|rest| rest.split(' ').next()).and_then(|root| root.parse().ok());
    match root.and_then(|root: u32| trees.get(&root)) {
        Some(table) => format!("{line}, in the table {table}"),
        None => line.to_owned(),
    }
}
