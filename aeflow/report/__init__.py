"""A report folder: what the scores of a batch come to, for programs and for people."""
