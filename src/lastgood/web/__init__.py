"""The control API: JSON over HTTP for everything a person or a program may ask of the control wing.

Belongs here: translating between HTTP and the services (one file per noun), who may call, what an error looks
like, metrics. Does not belong here: rules. Every rule lives below, so that the command line, which
calls the same endpoints without a server, obeys the same ones.
"""
