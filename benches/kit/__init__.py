"""What the measuring tools of this folder share: servers that are started and stopped, load, ratios, tables.

Python's standard library only. Everything is on loopback, on free ports, and is stopped at the end.
"""
