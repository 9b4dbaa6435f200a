"""`python -m npgen`."""

from npgen_command import main

main()
