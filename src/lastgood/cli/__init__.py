"""The command line: one file per noun, over the same endpoints that the control API serves.

Belongs here: reading flags, asking the control API or, where no server is needed, the services themselves, and
saying the answer in words or as JSON. Does not belong here: rules. Heavy imports happen inside commands.
"""
