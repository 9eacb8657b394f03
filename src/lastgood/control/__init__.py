"""The control plane: what a user may ask for, what happens next, and making it happen.

Belongs here: registering versions, releasing and rolling back (``releases``), deciding (``decide``, pure), doing
(``execute``), and the loop that repeats both (``controller``). Does not belong here: SQL, HTTP, processes
and files of others; those are behind :mod:`lastgood.ports`.
"""
