"""The store: what must survive, in one database and one folder of artifacts.

Belongs here: the tables and their migrations, the transactions that change them, and the artifacts by
content address. Everything is written once, in the SQL that SQLite and PostgreSQL share; only ``database``
knows which of them it talks to. Does not belong here: any decision, such as whether a release may start.
What must hold between rows (revisions, one release under way, an unbroken chain of events) is held here,
in the transaction that writes them.
"""
