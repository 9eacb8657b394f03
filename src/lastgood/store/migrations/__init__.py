"""The migrations, applied in order by :func:`lastgood.store.migrate.migrate`.

A migration is never edited once it was released; a later one corrects it. A test compares a migrated
database with one made from ``schema``, so that the two never drift apart.
"""
