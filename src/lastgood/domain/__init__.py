"""The nouns and rules of releasing a model, as frozen values.

Belongs here: what a version, a deployment, a route, a plan and a release are, and what may follow
what. Does not belong here: any input or output, any clock, any chance. ``now`` and seeds are
arguments. Times are seconds since the epoch (UTC), durations are seconds, weights are basis points
(0 to 10 000).
"""
