"""The way of pictures and videos into an archive.

``frames`` finds the files, with ``folders`` and ``lists`` of them, ``origins`` tells camera and
time, ``plan`` decides what to do with a file, ``looking`` decodes it and finds people,
``scene_writer`` writes what was seen. ``ingest`` runs them all and is the only function that others
call.
"""
