"""`python -m extauthz` is the `extauthz` command."""

import sys

from extauthz.cli import main

if __name__ == "__main__":
    sys.exit(main())
