"""`python -m renewctl`."""

from __future__ import annotations

import sys

from renewctl.cli.main import main

sys.exit(main())
