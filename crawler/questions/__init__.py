"""Answers computed from the rows of the history. Pure: rows in, answers out."""
