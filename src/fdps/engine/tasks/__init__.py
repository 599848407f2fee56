"""The kinds of training: what differs between whole scenes, crops, and features that are kept.

Internal; :mod:`fdps.engine.train` asks for a task and knows no network.
"""
