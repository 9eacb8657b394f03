"""Adapters to the world outside: one third-party client, one file, one extra, one entry point.

Belongs here: notifiers (entry-point group ``lastgood.notifiers``, each a ``create(settings)`` that returns a
:class:`~lastgood.ports.Notifier`) and, later, other routers and sources. Does not belong here: any rule about
releases, any retry (the outbox retries), and any import of another wing.
"""
