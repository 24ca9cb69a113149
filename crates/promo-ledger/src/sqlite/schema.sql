-- Format 1 of a ledger file. Records, nodes, uses and blobs are append-only; the triggers keep mistakes out, not attackers:
-- those are found by `promo ledger verify` and by checkpoints that others keep.
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL CHECK (length(root) = 32),
    last BLOB NOT NULL CHECK (length(last) = 32),
    epoch INTEGER NOT NULL
) STRICT;
CREATE TABLE records (
    seq INTEGER PRIMARY KEY,
    rid TEXT NOT NULL UNIQUE,
    bytes BLOB NOT NULL
) STRICT;
CREATE TABLE nodes (
    level INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE sides (
    seq INTEGER NOT NULL,
    field TEXT NOT NULL,
    salt BLOB NOT NULL CHECK (length(salt) = 32),
    text TEXT NOT NULL,
    PRIMARY KEY (seq, field)
) STRICT, WITHOUT ROWID;
CREATE TABLE generations (
    pipeline TEXT NOT NULL,
    environment TEXT NOT NULL,
    value INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (pipeline, environment)
) STRICT, WITHOUT ROWID;
CREATE TABLE consumed (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Times are milliseconds since 1970 by this database's clock.
CREATE TABLE leases (
    resource TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE blobs (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    bytes BLOB NOT NULL
) STRICT;

CREATE TRIGGER records_follow BEFORE INSERT ON records WHEN NEW.seq < (SELECT size FROM ledger)
BEGIN SELECT RAISE(ABORT, 'records are never replaced'); END;
CREATE TRIGGER records_stay BEFORE UPDATE ON records BEGIN SELECT RAISE(ABORT, 'records are never changed'); END;
CREATE TRIGGER records_remain BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'records are never deleted'); END;
CREATE TRIGGER nodes_stay BEFORE UPDATE ON nodes BEGIN SELECT RAISE(ABORT, 'nodes are never changed'); END;
CREATE TRIGGER nodes_remain BEFORE DELETE ON nodes BEGIN SELECT RAISE(ABORT, 'nodes are never deleted'); END;
CREATE TRIGGER sides_stay BEFORE UPDATE ON sides BEGIN SELECT RAISE(ABORT, 'texts are erased, never changed'); END;
CREATE TRIGGER consumed_stay BEFORE UPDATE ON consumed BEGIN SELECT RAISE(ABORT, 'a use is never changed'); END;
CREATE TRIGGER consumed_remain BEFORE DELETE ON consumed BEGIN SELECT RAISE(ABORT, 'a use is never taken back'); END;
CREATE TRIGGER blobs_stay BEFORE UPDATE ON blobs BEGIN SELECT RAISE(ABORT, 'blobs are never changed'); END;
CREATE TRIGGER blobs_remain BEFORE DELETE ON blobs BEGIN SELECT RAISE(ABORT, 'blobs are never deleted'); END;
