"""Where live data is, and how it goes back: one module for each kind of source, all behind :class:`~lastgood.data_ports.DataSource`.

Belongs here: capturing, verifying, staging, swapping and counting rows in a database, a table format or a folder. Does
not belong here: when any of that happens (control), and what is known of snapshots (store).

Each module has ``create(name, options, kept)``: the source's name, its options from the settings (an ``env:NAME`` or
``file:PATH`` reference stands for a secret), and a private folder for what the provider keeps in files. Entry points of
the group ``lastgood.sources`` find them; so may anybody's own.
"""
