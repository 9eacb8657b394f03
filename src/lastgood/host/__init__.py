"""The model host: one process that loads exactly one version and answers for it.

Belongs here: loading an artifact safely, decoding requests, predicting in micro-batches, checking what the
model returns. Does not belong here: which version answers whom, restarting, anything about releases.
"""
