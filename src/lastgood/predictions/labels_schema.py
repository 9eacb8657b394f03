"""The tables of labels, beside the predictions in the same file: what meets does so in one transaction."""

from typing import Final

LABEL_TABLES: Final = """
CREATE TABLE IF NOT EXISTS labels (
  id TEXT NOT NULL,
  row INTEGER NOT NULL,
  value TEXT NOT NULL,
  at REAL NOT NULL,
  received REAL NOT NULL,
  joined INTEGER NOT NULL,
  PRIMARY KEY (id, row)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS labels_received ON labels (joined, received);
CREATE INDEX IF NOT EXISTS labels_waiting ON labels (id) WHERE joined = 0;
CREATE TABLE IF NOT EXISTS outcomes (
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
  value TEXT NOT NULL,
  copied INTEGER,
  other BLOB,
  slices TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS outcomes_release ON outcomes (release, predicted_at);
CREATE INDEX IF NOT EXISTS outcomes_new ON outcomes (release);
CREATE TABLE IF NOT EXISTS labelled (served INTEGER PRIMARY KEY, predictions INTEGER NOT NULL) STRICT;
"""
"""``labels.joined`` is 1 for one that met its prediction. ``outcomes`` are labels of a release's arms with what was
answered, in the order in which they met: ``copied`` is 1 where ``other`` may hold what a copy answered. ``labelled`` counts predictions with a label as ``served.added`` counts all."""
