"""``python -m fdps`` is the ``fdps`` command."""

import sys

from fdps.cli.main import main

sys.exit(main())
