"""The verbs for models: ``fdps models list``, ``info``, ``verify`` and ``calibrate``."""
