"""Parts of `scripts/fuzz.py`: malformed files, malformed arguments, and the processes in which npgen gets them."""
