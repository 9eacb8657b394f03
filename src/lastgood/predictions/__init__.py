"""The prediction log: what was answered to which request, by which version, and where it is found again.

Belongs here: the log's database, and the process that fills it from what gateways leave in files. Does not belong here:
the hot path (``gateway``), the files' format (``wire``), or any decision about a release. The process is small and starts
quickly: nothing here imports the store, the controller or a web framework.
"""
