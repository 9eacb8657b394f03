"""One file for each migration, ``m<number>_<what>.py``; its revision is ``m<number>``."""
