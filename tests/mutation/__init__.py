"""Whether a test fails for each small fault in the code that judges: `./dev mutate`."""
