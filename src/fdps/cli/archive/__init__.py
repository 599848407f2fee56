"""The verbs that look after an archive: ``fdps archive info``, ``verify``, ``forget`` and so on."""
