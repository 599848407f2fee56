"""The web service: archives in a browser and over REST, safe by default.

:func:`~fdps.serve.app.create_app` is the one door: settings and archives in, an ASGI application
out. Its rooms, from the ground up: ``settings``, ``problems``, ``security``, ``archives``,
``searching``, ``looking``, ``cases``, ``jobs``, ``api``, ``pages``, ``app``.

The packages of the extra ``serve`` are imported by the rooms, not here. All of it is internal and
may change; ``fdps serve`` and its REST interface are what others may rely on.
"""
