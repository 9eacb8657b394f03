"""The table of sketches in the prediction log."""

from typing import Final

SKETCH_TABLES: Final = """
CREATE TABLE IF NOT EXISTS sketches (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at REAL NOT NULL,
  deployment TEXT NOT NULL,
  version INTEGER NOT NULL,
  release INTEGER,
  stage INTEGER,
  arm TEXT,
  rows INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  outputs TEXT NOT NULL,
  inputs TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS sketches_release ON sketches (release) WHERE release IS NOT NULL;
CREATE INDEX IF NOT EXISTS sketches_version ON sketches (deployment, version, at);
"""
"""One row is what :class:`~lastgood.domain.sketch.SketchRow` says; the sketches are JSON by column, ``bytes`` long together. A ``seq`` is never used
again while the file is there: whoever has read up to one finds all that comes later."""
