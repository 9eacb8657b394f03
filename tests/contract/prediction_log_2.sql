PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
BEGIN TRANSACTION;
CREATE TABLE labelled (served INTEGER PRIMARY KEY, predictions INTEGER NOT NULL) STRICT;
INSERT INTO "labelled" VALUES(1,1);
CREATE TABLE labels (
  id TEXT NOT NULL,
  row INTEGER NOT NULL,
  value TEXT NOT NULL,
  at REAL NOT NULL,
  received REAL NOT NULL,
  joined INTEGER NOT NULL,
  PRIMARY KEY (id, row)
) STRICT, WITHOUT ROWID;
INSERT INTO "labels" VALUES('late',0,'1',200.0,200.0,0);
INSERT INTO "labels" VALUES('old',0,'0',200.0,200.0,1);
CREATE TABLE outcomes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  release INTEGER NOT NULL,
  stage INTEGER NOT NULL,
  arm TEXT NOT NULL,
  version INTEGER NOT NULL,
  key INTEGER,
  predicted_at REAL NOT NULL,
  labelled_at REAL NOT NULL,
  received REAL NOT NULL,
  answer BLOB,
  value TEXT NOT NULL
) STRICT;
INSERT INTO "outcomes" VALUES(1,7,1,'candidate',2,77,100.0,200.0,200.0,X'7B2270726564696374696F6E73223A317D','0');
CREATE TABLE predictions (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  also TEXT,
  at REAL NOT NULL,
  served INTEGER NOT NULL,
  status INTEGER NOT NULL,
  seconds REAL NOT NULL,
  key INTEGER,
  fallback TEXT,
  answer_bytes INTEGER NOT NULL,
  answer BLOB,
  inputs BLOB
) STRICT;
INSERT INTO "predictions" VALUES(1,'old','0190-old',100.0,1,200,0.004,77,NULL,19,X'7B2270726564696374696F6E73223A5B315D7D',NULL);
CREATE TABLE segments (name TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "segments" VALUES('s',10);
CREATE TABLE served (
  number INTEGER PRIMARY KEY,
  deployment TEXT NOT NULL,
  model TEXT NOT NULL,
  version INTEGER NOT NULL,
  role TEXT NOT NULL,
  release INTEGER,
  stage INTEGER,
  arm TEXT,
  added INTEGER NOT NULL
) STRICT;
INSERT INTO "served" VALUES(1,'churn-eu','churn',2,'candidate',7,1,'candidate',1);
CREATE TABLE tallies (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "tallies" VALUES('labels_waiting',1);
CREATE INDEX predictions_id ON predictions (id);
CREATE INDEX predictions_also ON predictions (also) WHERE also IS NOT NULL;
CREATE INDEX labels_received ON labels (joined, received);
CREATE INDEX labels_waiting ON labels (id) WHERE joined = 0;
CREATE INDEX outcomes_release ON outcomes (release, predicted_at);
CREATE INDEX outcomes_new ON outcomes (release);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('outcomes',1);
COMMIT;
PRAGMA user_version = 2;
