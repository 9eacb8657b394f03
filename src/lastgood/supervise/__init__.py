"""The supervisor: starts processes, restarts them when they die, and stops them in order.

Belongs here: processes, their limits, their logs, and making the fleet's desired state true on this machine. Does
not belong here: releases, routes, the store. What should run is read from a file; what runs is written to one.
"""
