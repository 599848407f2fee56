"""The verbs for data sets: ``fdps data synth``, ``check``, ``stats`` and ``convert``."""
