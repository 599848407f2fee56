"""Public models by name: what there is, where it lies, and how it is brought here.

``models.toml`` lists the files with size and SHA-256 (:mod:`fdps.downloads.catalogue`);
:mod:`fdps.downloads.install` puts the files of a model and its card into the folder of models,
where every verb finds them by name. :mod:`fdps.downloads.transfer` is the one module of fdps that
asks a server for a file, and it runs only when somebody asks for that.

This package is internal: ``fdps models download`` is the way in.
"""
