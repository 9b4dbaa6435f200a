"""`python -m npgen_command`."""

from npgen_command import main

main()
