"""The data plane: takes callers' requests, chooses the arm, forwards, falls back, counts.

Belongs here: everything that a request meets between the caller's socket and the model host's, and the
counts of it. Does not belong here: models, the store, the controller, or any decision about a release. A
worker needs the route page and the hosts' sockets, and nothing else: it serves on when all the rest is
down.
"""
