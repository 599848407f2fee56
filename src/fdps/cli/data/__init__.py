"""The verbs for data sets: ``fdps data synth``, ``collage``, ``check``, ``stats`` and ``convert``."""
