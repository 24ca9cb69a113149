//! The statements: how each row of a ledger is read and written.

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ids::{EnvironmentName, PipelineName};
use rusqlite::{OptionalExtension, Params, Row, params};

use super::{Result, SqliteRows, digest, int, sql, timestamp, unsigned};
use crate::error::{Generation, StoreError};
use crate::store::{Head, Lease, RawRecord, Side};
use crate::transaction::Rows;
use crate::tree::Node;

impl SqliteRows<'_> {
    pub(super) fn optional<T>(
        &self,
        select: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let mut statement = self.sql.prepare_cached(select).map_err(sql("reading"))?;
        statement.query_row(params, read).optional().map_err(sql("reading"))
    }

    fn list<T>(
        &self,
        select: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.sql.prepare_cached(select).map_err(sql("reading"))?;
        let rows = statement.query_map(params, read).map_err(sql("reading"))?;
        rows.collect::<rusqlite::Result<_>>().map_err(sql("reading"))
    }

    fn execute(&self, statement: &str, params: impl Params) -> Result<()> {
        let mut statement = self.sql.prepare_cached(statement).map_err(sql("writing"))?;
        statement.execute(params).map(drop).map_err(sql("writing"))
    }

    pub(super) fn blob_digests(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>> {
        let after = after.map_or(&[][..], |after| after.as_bytes());
        let limit = int(limit as u64);
        let select = "SELECT digest FROM blobs WHERE digest > ?1 ORDER BY digest LIMIT ?2";
        let rows = self.list(select, params![after, limit], |row| row.get::<_, Vec<u8>>(0))?;
        rows.iter().map(|bytes| digest("the digest of a file", bytes)).collect()
    }
}

type GenerationRow = (String, String, i64, i64);
type LeaseRow = (String, String, i64, i64);

fn generation_row(row: &Row<'_>) -> rusqlite::Result<GenerationRow> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn generation((pipeline, environment, value, seq): GenerationRow) -> Result<Generation> {
    let place = format!("the generation of {environment}");
    Ok(Generation {
        pipeline: pipeline.parse().map_err(|_| StoreError::damaged(&place, "a pipeline's name", &pipeline))?,
        environment: environment.parse().map_err(|_| StoreError::damaged(&place, "a name", &environment))?,
        value: unsigned(&place, value)?,
        seq: unsigned(&place, seq)?,
    })
}

fn lease_row(row: &Row<'_>) -> rusqlite::Result<LeaseRow> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn lease((resource, holder, epoch, expires): LeaseRow) -> Result<Lease> {
    let place = format!("the lease on {resource}");
    Ok(Lease {
        resources: vec![resource],
        holder,
        epoch: unsigned(&place, epoch)?,
        expires: timestamp(&place, expires)?,
    })
}

impl Rows for SqliteRows<'_> {
    fn now(&self) -> Result<Timestamp> {
        let select = "SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)";
        let now = self.optional(select, [], |row| row.get(0))?;
        timestamp(
            "the database's time",
            now.ok_or_else(|| StoreError::damaged("the database's time", "a time", "none"))?,
        )
    }

    fn head(&self) -> Result<Head> {
        type HeadRow = (i64, Vec<u8>, Vec<u8>);
        let row = self.optional("SELECT size, root, last FROM ledger", [], |row| -> rusqlite::Result<HeadRow> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        let (size, root, last) = row.ok_or_else(|| StoreError::damaged("the head", "one row", "none"))?;
        Ok(Head {
            size: unsigned("the head's size", size)?,
            root: digest("the head's root", &root)?,
            last: digest("the head's last record", &last)?,
        })
    }

    fn node(&self, level: u32, index: u64) -> Result<Option<Digest>> {
        let select = "SELECT hash FROM nodes WHERE level = ?1 AND idx = ?2";
        let row = self.optional(select, params![level, int(index)], |row| row.get::<_, Vec<u8>>(0))?;
        row.map(|hash| digest("a tree node", &hash)).transpose()
    }

    fn seq_of(&self, rid: &str) -> Result<Option<u64>> {
        let row = self.optional("SELECT seq FROM records WHERE rid = ?1", [rid], |row| row.get::<_, i64>(0))?;
        row.map(|seq| unsigned("the position of a record", seq)).transpose()
    }

    fn raw(&self, from: u64, limit: usize) -> Result<Vec<RawRecord>> {
        let select = "SELECT seq, rid, bytes FROM records WHERE seq >= ?1 ORDER BY seq LIMIT ?2";
        let rows = self.list(select, params![int(from), int(limit as u64)], |row| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?))
        })?;
        let raw = |(seq, rid, bytes)| Ok(RawRecord { seq: unsigned("the position of a record", seq)?, rid, bytes });
        rows.into_iter().map(raw).collect()
    }

    fn sides(&self, seq: u64) -> Result<Vec<Side>> {
        let select = "SELECT field, salt, text FROM sides WHERE seq = ?1 ORDER BY field";
        let rows = self.list(select, [int(seq)], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?, row.get(2)?)))?;
        let side = |(field, salt, text): (_, Vec<u8>, _)| {
            Ok(Side { field, salt: *digest(&format!("a salt of record {seq}"), &salt)?.as_bytes(), text })
        };
        rows.into_iter().map(side).collect()
    }

    fn generation(&self, pipeline: &PipelineName, environment: &EnvironmentName) -> Result<Option<Generation>> {
        let select =
            "SELECT pipeline, environment, value, seq FROM generations WHERE pipeline = ?1 AND environment = ?2";
        let row = self.optional(select, [pipeline.as_str(), environment.as_str()], generation_row)?;
        row.map(generation).transpose()
    }

    fn generations(&self) -> Result<Vec<Generation>> {
        let select = "SELECT pipeline, environment, value, seq FROM generations ORDER BY pipeline, environment";
        self.list(select, [], generation_row)?.into_iter().map(generation).collect()
    }

    fn consumed_by(&self, digest: &Digest) -> Result<Option<u64>> {
        let select = "SELECT seq FROM consumed WHERE digest = ?1";
        let row = self.optional(select, [digest.as_bytes()], |row| row.get::<_, i64>(0))?;
        row.map(|seq| unsigned("the use of a plan or approval", seq)).transpose()
    }

    fn lease(&self, resource: &str) -> Result<Option<Lease>> {
        let select = "SELECT resource, holder, epoch, expires FROM leases WHERE resource = ?1";
        self.optional(select, [resource], lease_row)?.map(lease).transpose()
    }

    fn leases(&self) -> Result<Vec<Lease>> {
        let now = self.now()?.as_millisecond();
        let select = "SELECT resource, holder, epoch, expires FROM leases WHERE expires > ?1 ORDER BY resource";
        self.list(select, [now], lease_row)?.into_iter().map(lease).collect()
    }

    fn epoch(&self) -> Result<u64> {
        let epoch = self.optional("SELECT epoch FROM ledger", [], |row| row.get(0))?;
        unsigned("the epoch", epoch.ok_or_else(|| StoreError::damaged("the head", "one row", "none"))?)
    }

    fn salt(&self, _rid: &str, _field: &str) -> Result<[u8; 32]> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)
            .map_err(|source| StoreError::Io { doing: "drawing a random salt", source: Box::new(source) })?;
        Ok(salt)
    }

    fn put_record(&mut self, raw: RawRecord) -> Result<()> {
        let insert = "INSERT INTO records (seq, rid, bytes) VALUES (?1, ?2, ?3)";
        self.execute(insert, params![int(raw.seq), raw.rid, raw.bytes])
    }

    fn put_node(&mut self, node: Node) -> Result<()> {
        let insert = "INSERT INTO nodes (level, idx, hash) VALUES (?1, ?2, ?3)";
        self.execute(insert, params![node.level, int(node.index), node.hash.as_bytes()])
    }

    fn put_side(&mut self, seq: u64, side: Side) -> Result<()> {
        let insert = "INSERT INTO sides (seq, field, salt, text) VALUES (?1, ?2, ?3, ?4)";
        self.execute(insert, params![int(seq), side.field, side.salt, side.text])
    }

    fn put_generation(&mut self, generation: Generation) -> Result<()> {
        let upsert = "INSERT INTO generations (pipeline, environment, value, seq) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (pipeline, environment) DO UPDATE SET value = excluded.value, seq = excluded.seq";
        let Generation { pipeline, environment, value, seq } = generation;
        self.execute(upsert, params![pipeline.as_str(), environment.as_str(), int(value), int(seq)])
    }

    fn put_consumed(&mut self, digest: Digest, seq: u64) -> Result<()> {
        self.execute("INSERT INTO consumed (digest, seq) VALUES (?1, ?2)", params![digest.as_bytes(), int(seq)])
    }

    fn put_head(&mut self, head: Head) -> Result<()> {
        let update = "UPDATE ledger SET size = ?1, root = ?2, last = ?3";
        self.execute(update, params![int(head.size), head.root.as_bytes(), head.last.as_bytes()])
    }

    fn put_lease(&mut self, resource: &str, holder: &str, epoch: u64, expires: Timestamp) -> Result<()> {
        let upsert = "INSERT INTO leases (resource, holder, epoch, expires) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (resource) DO UPDATE SET holder = excluded.holder, epoch = excluded.epoch, expires = excluded.expires";
        self.execute(upsert, params![resource, holder, int(epoch), expires.as_millisecond()])
    }

    fn free_lease(&mut self, resource: &str) -> Result<()> {
        self.execute("DELETE FROM leases WHERE resource = ?1", [resource])
    }

    fn next_epoch(&mut self) -> Result<u64> {
        let update = "UPDATE ledger SET epoch = epoch + 1 RETURNING epoch";
        let epoch = self.sql.query_row(update, [], |row| row.get(0)).map_err(sql("counting the epoch up"))?;
        unsigned("the epoch", epoch)
    }
}
