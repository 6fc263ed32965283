"""`python -m noisescale`."""

from noisescale.cli import main

raise SystemExit(main())
