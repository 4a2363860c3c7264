"""The stages of preparing data as jobs: what each reads, what decides it, what it writes.

Each file is one stage: functions of files to files, and one that lays out their jobs for the
engine. `prepare.py` puts them in order.
"""
