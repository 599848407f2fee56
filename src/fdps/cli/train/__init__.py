"""The verbs that make and use a network: ``fdps train``, ``resume`` and ``predict``."""
